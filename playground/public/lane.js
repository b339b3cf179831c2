import { connect } from 'steady-sse/client'
import { control, prepend, seconds, show, tell } from './dom.js'
import { Tally } from './tally.js'
import { Timeline } from './timeline.js'
import { tapped } from './wire.js'

/** How many events are drawn and logged at once; more are only counted. */
const MOST_DRAWN = 60

/** One client: its stream, what it is handed, and the part of the page that shows it. */
export class Lane {
  onstart = () => {}
  #index
  #root
  #timeline
  #tally = new Tally()
  #stream
  #origin
  #ready = {}
  #heartbeats = 0
  #waiting
  #drawn = 0
  #ticking
  #isAsking = false

  constructor(index, parent) {
    this.#index = index
    this.#root = document.querySelector('#lane').content.cloneNode(true).firstElementChild
    this.#root.querySelector('h2').textContent = `Client ${index + 1}`
    const canvas = this.#root.querySelector('canvas')
    canvas.setAttribute('aria-label', `Timeline of client ${index + 1}; the log has it in words`)
    parent.append(this.#root)
    this.#timeline = new Timeline(canvas)
    this.#listen()
    this.#ticking = setInterval(() => this.#tick(), 100)
  }

  get root() {
    return this.#root
  }

  get stream() {
    return this.#stream
  }

  get origin() {
    return this.#origin
  }

  /** Connects by a path, from where an earlier stream of this lane ended. */
  async start(origin = this.#origin) {
    this.#origin = origin
    this.#stream = connect(`${origin}/events`, {
      cursor: this.#stream?.cursor,
      from: 'last:20',
      acks: '/acks',
      // Sooner than the default, so that there is something to see.
      connectTimeoutMs: 2_000,
      fetch: tapped((seen) => this.#onWire(seen)),
      onState: (change) => this.#onState(change),
    })
    this.onstart()
    try {
      for await (const item of this.#stream) {
        if (item.type === 'gap') this.#onGap(item)
        else this.#onEvent(item)
      }
    } catch (error) {
      this.#show('reason', `${error.code ?? error.name}: ${error.message}`)
    }
  }

  leave() {
    this.#stream.close()
    this.#timeline.stop()
    clearInterval(this.#ticking)
    this.#root.remove()
  }

  /** Shows what the server says of this client's path and connection. */
  update({ published, connections, paths }) {
    const { fault } = paths[this.#index]
    // What the visitor has just chosen, the server may not know yet.
    if (!this.#isAsking) this.#root.querySelector(`input[value="${fault}"]`).checked = true
    const progress = connections[this.#stream?.connection] ?? {}
    this.#show('published', published)
    this.#show('written', progress.written ?? '–')
    this.#show('acknowledged', progress.acknowledged ?? '–')
  }

  #listen() {
    for (const radio of this.#root.querySelectorAll('[type="radio"]')) {
      radio.name = `path-${this.#index}`
      radio.addEventListener('change', () => void this.#disturb(`path?path=${this.#index}&fault=${radio.value}`))
    }
    const onClick = (selector, act) => this.#root.querySelector(selector).addEventListener('click', act)
    onClick('.cut', () => void this.#disturb(`cut?path=${this.#index}`))
    onClick('.again', () => void this.start())
  }

  async #disturb(name) {
    this.#isAsking = true
    const { text } = await control(name)
    this.#isAsking = false
    tell(this.#root.querySelector('.story'), text)
    // What a browser says when a network is back: who waits tries at once.
    if (name.endsWith('none')) dispatchEvent(new Event('online'))
  }

  #onEvent(item) {
    const { n, at, text } = item.json()
    this.#tally.event(n)
    if (this.#drawn++ > MOST_DRAWN) return
    // Published before this connection was there, and delivered all the same.
    const isReplay = at < this.#ready.time
    this.#timeline.mark(isReplay ? 'replay' : 'event')
    this.#log('event', `#${n}`, text ?? (isReplay ? 'replayed' : ''))
  }

  #onGap({ reason, missed }) {
    this.#tally.gap(missed)
    this.#timeline.mark('gap', `gap: ${reason}`)
    this.#log(
      'gap',
      `gap: ${reason}`,
      missed === null ? 'an unknown number of events missing' : `${missed} events missing`,
    )
  }

  #onState({ state, mode, attempt, reason, delayMs }) {
    const shown = state === 'open' ? mode : state
    this.#root.dataset.state = shown
    this.#timeline.span(shown)
    if (state === 'connecting') this.#timeline.mark('attempt', attempt)
    this.#waiting = delayMs === undefined ? undefined : performance.now() + delayMs
    this.#show('state', { stream: 'streaming', poll: 'polling' }[shown] ?? state)
    this.#show('reason', reason ?? '')
    this.#show('attempt', attempt)
    this.#show('mode', mode)
    this.#log('state', state === 'open' ? `open, ${mode}` : state, reason ?? `attempt ${attempt}`)
    this.#root.querySelector('.again').hidden = state !== 'closed'
  }

  #onWire({ ready, heartbeat }) {
    if (heartbeat) {
      this.#heartbeats++
      this.#timeline.mark('heartbeat')
    }
    if (!ready) return
    this.#ready = ready
    this.#show('resumed', ready.resumed)
  }

  /** What changes with time, and what is counted: shown ten times a second, however fast events come. */
  #tick() {
    this.#drawn = 0
    const { events, gaps, lost, twice, handed = '–' } = this.#tally
    const facts = { events, gaps, lost, twice, handed, heartbeats: this.#heartbeats }
    for (const [name, count] of Object.entries(facts)) this.#show(name, count)
    for (const name of ['lost', 'twice']) this.#place(name).classList.toggle('bad', facts[name] > 0)
    this.#show('cursor', this.#stream?.cursor ?? '–')
    this.#show('connection', this.#stream?.connection ?? '–')
    const restMs = this.#waiting === undefined ? 0 : this.#waiting - performance.now()
    this.#show('countdown', restMs > 0 ? `again in ${seconds(restMs)}` : '')
  }

  #log(kind, ...cells) {
    prepend(this.#root.querySelector('.log'), kind, [new Date().toLocaleTimeString(), ...cells])
  }

  #place(fact) {
    return this.#root.querySelector(`[data-fact="${fact}"]`)
  }

  #show(fact, value) {
    show(this.#place(fact), value)
  }
}
