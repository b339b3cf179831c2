/** What the HTML standard dispatches. */
export interface Dispatched {
  readonly type: string
  readonly data: string
  readonly lastEventId: string
}

/**
 * The HTML standard's own words as code, and nothing else: a client of nobody's making.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export class WhatwgParser {
  /** "The event stream's last event ID string": it moves when a block ends, with or without data. */
  lastEventId = ''
  retry: number | undefined
  readonly #dispatch: (event: Dispatched) => void
  readonly #decoder = new TextDecoder()
  #rest = ''
  #afterCr = false
  #data = ''
  #type = ''
  #id = ''

  constructor(dispatch: (event: Dispatched) => void) {
    this.#dispatch = dispatch
  }

  push(chunk: Uint8Array): void {
    for (const char of this.#decoder.decode(chunk, { stream: true })) {
      if (char !== '\n' && char !== '\r') this.#rest += char
      else if (char === '\r' || !this.#afterCr) this.#line()
      this.#afterCr = char === '\r'
    }
  }

  #line(): void {
    const line = this.#rest
    this.#rest = ''
    if (line === '') {
      this.#block()
      return
    }
    const colon = line.indexOf(':')
    if (colon === 0) return
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1))
    if (field === 'event') this.#type = value
    else if (field === 'data') this.#data += `${value}\n`
    else if (field === 'id' && !value.includes('\0')) this.#id = value
    else if (field === 'retry' && /^[0-9]+$/.test(value)) this.retry = Number(value)
  }

  #block(): void {
    this.lastEventId = this.#id
    const [data, type] = [this.#data, this.#type]
    this.#data = ''
    this.#type = ''
    if (data === '') return
    this.#dispatch({ type: type || 'message', data: data.slice(0, -1), lastEventId: this.#id })
  }
}
