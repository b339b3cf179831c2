import { createOutbox, webStorage } from 'steady-sse/outbox'
import { prepend, show } from './dom.js'

/** The outbox of a client, and the part of the page that shows it. */
export class Sending {
  #root = document.querySelector('.outbox')
  #list = this.#root.querySelector('.messages')
  #rows = new Map()
  #outbox
  #sent = 0

  constructor() {
    const form = this.#root.querySelector('form')
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#send(form.elements.text.value)
    })
    const onClick = (name, act) => this.#root.querySelector(`[data-send="${name}"]`).addEventListener('click', act)
    onClick('five', () => {
      for (let i = 0; i < 5; i++) this.#send(`Message ${++this.#sent}`)
    })
    // The server takes no empty text.
    onClick('bad', () => this.#send(''))
    onClick('pause', ({ target }) => (target.checked ? this.#outbox.pause() : this.#outbox.resume()))
  }

  /** Sends by the same path as the client, and in its name. */
  open({ stream, origin }) {
    void this.#outbox?.close()
    this.#outbox = createOutbox(`${origin}/messages`, {
      stream,
      storage: webStorage(localStorage, { name: 'playground' }),
      timeoutMs: 4_000,
      onState: (change) => this.#onState(change),
    })
  }

  #send(text) {
    // What becomes of it is shown by its state.
    this.#outbox.send({ text }).catch((error) => {
      if (error.code === 'OUTBOX_FULL') prepend(this.#list, 'failed', [text, 'OUTBOX_FULL: refused at once'])
    })
  }

  #onState({ state, item }) {
    show(this.#root.querySelector('[data-outbox="state"]'), state)
    const { counters } = this.#outbox ?? { counters: {} }
    for (const name of ['pending', 'accepted', 'rejected', 'uncertain']) {
      show(this.#root.querySelector(`[data-outbox="${name}"]`), counters[name] ?? 0)
    }
    if (item) this.#showItem(item)
  }

  #showItem({ key, state, attempts, body, receipt, error }) {
    const text = JSON.parse(body).text || '(empty)'
    const row = this.#rows.get(key) ?? prepend(this.#list, '', [text, ''])
    this.#rows.set(key, row)
    row.className = state
    const what = state === 'failed' ? error.code.toLowerCase() : state
    const tries = attempts > 1 ? `, attempt ${attempts}` : ''
    // The message had arrived before; only its answer was lost.
    const again = receipt?.replayed ? ', had arrived before: handled once' : ''
    show(row.lastElementChild, what + tries + again)
    if (receipt || error) this.#rows.delete(key)
  }
}
