import { connect } from 'steady-sse/client'

const MOST_ROWS = 200

/** One client: its stream, what it counts, and the part of the page that shows it. */
class Lane {
  #url
  #root
  #list
  #stream
  #counts = { events: 0, gaps: 0, lost: 0, twice: 0, heartbeats: 0 }
  /** The number that the next event must carry; unknown at first and after a gap that cannot tell. */
  #expected
  #ready = {}
  #heardAt
  #waiting

  constructor(url, parent) {
    this.#url = url
    this.#root = document.querySelector('#lane').content.cloneNode(true).firstElementChild
    this.#list = this.#root.querySelector('.list')
    this.#root.querySelector('.again').addEventListener('click', () => void this.start())
    parent.append(this.#root)
    setInterval(() => this.#tick(), 100)
  }

  get connection() {
    return this.#stream?.connection
  }

  /** Connects, from where an earlier stream of this lane ended. */
  async start() {
    this.#stream = connect(this.#url, {
      cursor: this.#stream?.cursor,
      from: 'last:20',
      fetch: tapped((seen) => this.#onWire(seen)),
      onState: (change) => this.#onState(change),
    })
    try {
      for await (const item of this.#stream) {
        if (item.type === 'gap') this.#onGap(item)
        else this.#onEvent(item)
      }
    } catch (error) {
      this.#show('reason', `${error.code ?? error.name}: ${error.message}`)
    }
  }

  #onEvent(item) {
    const { n, at } = item.json()
    this.#counts.events++
    if (this.#expected !== undefined && n > this.#expected) this.#counts.lost += n - this.#expected
    if (this.#expected !== undefined && n < this.#expected) this.#counts.twice++
    this.#expected = Math.max(this.#expected ?? 0, n + 1)
    const row = this.#row('event', `#${n}`, new Date(at).toLocaleTimeString(), item.id)
    // Published before this connection was there, and delivered all the same.
    if (at < this.#ready.time) row.append(element('span', 'badge', 'replayed'))
  }

  #onGap({ reason, missed, id }) {
    this.#counts.gaps++
    this.#expected = missed === null || this.#expected === undefined ? undefined : this.#expected + missed
    const what = missed === null ? 'an unknown number of events missing' : `${missed} events missing`
    this.#row('gap', `gap: ${reason}`, what, id)
    this.#show('gap', `Newest gap: ${reason}, ${new Date().toLocaleTimeString()}`)
  }

  #onState({ state, attempt, reason, delayMs }) {
    this.#root.dataset.state = state
    this.#waiting = delayMs === undefined ? undefined : { delayMs, until: performance.now() + delayMs }
    this.#show('state', state)
    this.#show('reason', reason ?? (state === 'open' ? 'Receiving events as they come.' : ''))
    this.#show('attempt', attempt)
    this.#root.querySelector('.again').hidden = state !== 'closed'
  }

  #onWire({ ready, heartbeat }) {
    this.#heardAt = performance.now()
    if (heartbeat) this.#counts.heartbeats++
    if (!ready) return
    this.#ready = ready
    this.#show('resumed', ready.resumed)
  }

  /** What changes with time, and what is counted: shown ten times a second, however fast events come. */
  #tick() {
    const { events, gaps, lost, twice, heartbeats } = this.#counts
    for (const [name, count] of Object.entries({ events, gaps, lost, twice })) this.#show(name, count)
    this.#show('connection', this.connection ?? '–')
    this.#show('cursor', this.#stream?.cursor ?? '–')
    const { heartbeatMs } = this.#ready
    if (heartbeatMs) this.#show('heartbeat', `after ${heartbeatMs / 1000} s idle, ${heartbeats} heard`)
    if (this.#heardAt !== undefined) this.#show('heard', `${seconds(performance.now() - this.#heardAt)} ago`)
    const restMs = this.#waiting ? Math.max(0, this.#waiting.until - performance.now()) : 0
    this.#show('countdown', restMs > 0 ? `Next attempt in ${seconds(restMs)}` : '')
    this.#root.style.setProperty('--rest', this.#waiting ? restMs / this.#waiting.delayMs : 1)
  }

  #row(kind, ...cells) {
    const row = element('li', kind)
    row.append(...cells.map((text, index) => element('span', ['what', 'more', 'id'][index], text)))
    this.#list.prepend(row)
    while (this.#list.childElementCount > MOST_ROWS) this.#list.lastElementChild.remove()
    return row
  }

  #show(fact, value) {
    const place = this.#root.querySelector(`[data-fact="${fact}"]`)
    // Written only when it changed, or a screen reader would be told again and again.
    if (place.textContent !== String(value)) place.textContent = value
    if (fact === 'lost' || fact === 'twice') place.classList.toggle('bad', value > 0)
  }
}

/** A `fetch` that lets everything through, and reports what the client keeps to itself: the first frame and heartbeats. */
function tapped(report) {
  return async (input, init) => {
    const response = await fetch(input, init)
    if (response.status !== 200) return response
    let text = ''
    const decoder = new TextDecoder()
    const tap = new TransformStream({
      transform(bytes, controller) {
        controller.enqueue(bytes)
        text += decoder.decode(bytes, { stream: true })
        const frames = text.split('\n\n')
        text = frames.pop()
        for (const frame of frames) report(readFrame(frame))
      },
    })
    return new Response(response.body.pipeThrough(tap), response)
  }
}

function readFrame(frame) {
  const isReady = /^event: stream:ready$/m.test(frame)
  return {
    heartbeat: frame.startsWith(':'),
    ready: isReady ? JSON.parse(/^data: (.*)$/m.exec(frame)[1]) : undefined,
  }
}

function element(name, className, text = '') {
  const made = document.createElement(name)
  made.className = className
  made.textContent = text
  return made
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`
}

/** Asks the server for something, and shows what it says. */
async function control(name) {
  const answer = document.querySelector('.answer')
  try {
    const response = await fetch(`/control/${name}`, { method: 'POST' })
    const { text } = await response.json()
    answer.textContent = text
    answer.classList.toggle('refused', !response.ok)
  } catch {
    answer.textContent = 'The server does not answer.'
    answer.classList.add('refused')
  }
}

const lane = new Lane('/events', document.querySelector('.lanes'))
void lane.start()

document.querySelector('.buttons').addEventListener('click', ({ target }) => {
  const name = target.dataset.control
  if (name) void control(name === 'cut' ? `cut?connection=${lane.connection ?? ''}` : name)
})
document.querySelector('.curl').textContent = `curl -N '${location.origin}/events?from=earliest'`
