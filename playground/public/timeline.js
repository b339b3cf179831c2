const PIXELS_PER_SECOND = 12
const FRAME_MS = 40
const CALM_FRAME_MS = 1_000
const BAND = { top: 18, height: 22 }
const MARKS = ['event', 'replay', 'gap', 'heartbeat']
const BANDS = ['stream', 'poll', 'connecting', 'waiting']
const calm = matchMedia('(prefers-reduced-motion: reduce)')

/** What happened to one client, drawn as it happens: now is at the right, and the past moves to the left. */
export class Timeline {
  #canvas
  #pen
  #spans = []
  #marks = []
  #drawnAt = Number.NEGATIVE_INFINITY
  #stopped = false

  constructor(canvas) {
    this.#canvas = canvas
    this.#pen = canvas.getContext('2d')
    const frame = (now) => {
      if (this.#stopped) return
      if (now - this.#drawnAt >= (calm.matches ? CALM_FRAME_MS : FRAME_MS)) this.#draw(now)
      requestAnimationFrame(frame)
    }
    requestAnimationFrame(frame)
  }

  /** From now on: `connecting`, `stream`, `poll`, `waiting` or `closed`. */
  span(kind) {
    if (this.#spans.at(-1)?.kind !== kind) this.#spans.push({ kind, at: performance.now() })
  }

  /** Now: an `event`, a `replay`, a `gap`, a `heartbeat` or an `attempt`. */
  mark(kind, text) {
    this.#marks.push({ kind, text, at: performance.now() })
  }

  stop() {
    this.#stopped = true
  }

  #draw(now) {
    this.#drawnAt = now
    const { clientWidth: width, clientHeight: height } = this.#canvas
    const scale = devicePixelRatio
    if (this.#canvas.width !== Math.round(width * scale)) this.#canvas.width = Math.round(width * scale)
    if (this.#canvas.height !== Math.round(height * scale)) this.#canvas.height = Math.round(height * scale)
    this.#pen.setTransform(scale, 0, 0, scale, 0, 0)
    this.#pen.clearRect(0, 0, width, height)
    const { color, font } = getComputedStyle(this.#canvas)
    const colours = legend()
    const colour = (name) => colours[name] ?? color
    const placeOf = (at) => width - ((now - at) / 1_000) * PIXELS_PER_SECOND
    this.#forget(now - (width / PIXELS_PER_SECOND) * 1_000 - 10_000)
    this.#pen.font = font
    this.#drawSpans(placeOf, width, colour)
    this.#drawSeconds(width, height, colour)
    this.#drawMarks(placeOf, colour)
  }

  #drawSpans(placeOf, width, colour) {
    this.#pen.fillStyle = colour('connecting')
    this.#pen.fillRect(0, BAND.top + BAND.height / 2, width, 1)
    for (const [index, { kind, at }] of this.#spans.entries()) {
      if (kind === 'closed') continue
      const from = Math.max(0, placeOf(at))
      const next = this.#spans[index + 1]
      this.#pen.fillStyle = colour(kind)
      this.#pen.fillRect(from, BAND.top, (next ? placeOf(next.at) : width) - from, BAND.height)
    }
  }

  #drawSeconds(width, height, colour) {
    this.#pen.fillStyle = colour('soft')
    this.#pen.textAlign = 'center'
    for (let s = 10; s * PIXELS_PER_SECOND < width - 20; s += 10) {
      this.#pen.fillText(`−${s} s`, width - s * PIXELS_PER_SECOND, height - 2)
    }
  }

  #drawMarks(placeOf, colour) {
    const { top, height } = BAND
    let last = Number.NEGATIVE_INFINITY
    for (const { kind, at } of this.#marks) {
      const x = Math.round(placeOf(at))
      this.#pen.fillStyle = colour(kind)
      if (kind === 'gap') this.#pen.fillRect(x - 1, top - 4, 3, height + 6)
      else if (kind === 'attempt') this.#pen.fillRect(x, top - 4, 1, height + 6)
      else if (kind === 'heartbeat') this.#pen.fillRect(x - 1, top + height + 3, 3, 3)
      else if (x !== last) this.#pen.fillRect(x - 1, top + 4, 2, height - 8)
      last = x
    }
    const taken = []
    for (const kind of ['gap', 'attempt']) {
      this.#pen.fillStyle = colour(kind)
      for (const mark of this.#marks) if (mark.kind === kind) this.#name(mark.text, placeOf(mark.at), taken)
    }
  }

  /** Writes a name above the band, unless it would run into another; the log has them all. */
  #name(text, x, taken) {
    const { width } = this.#pen.measureText(text)
    const left = Math.min(x - width / 2, this.#canvas.clientWidth - width)
    const right = left + width
    if (taken.some((other) => left < other.right + 4 && other.left < right + 4)) return
    taken.push({ left, right })
    this.#pen.textAlign = 'left'
    this.#pen.fillText(text, left, BAND.top - 7)
  }

  #forget(before) {
    while (this.#marks[0]?.at < before) this.#marks.shift()
    while (this.#spans[1]?.at < before) this.#spans.shift()
  }
}

/** The colours are those of the legend, which follow the visitor's scheme. */
function legend() {
  const colourOf = (name) => getComputedStyle(document.querySelector(`.legend .${name}`)).backgroundColor
  return Object.fromEntries([...BANDS, ...MARKS].map((name) => [name, colourOf(name)]))
}
