import { SseError } from '../protocol/error.js'
import { named, show } from '../protocol/options.js'
import { type Body, encodeBody } from './outbox-body.js'
import { Courier } from './outbox-courier.js'
import type { Outbox, SendOptions } from './outbox-face.js'
import { Gate } from './outbox-gate.js'
import { Keeper } from './outbox-keeper.js'
import { readKey } from './outbox-key.js'
import { Lanes } from './outbox-lanes.js'
import { headsOf, onLeaving, onVisible, thatFit } from './outbox-leaving.js'
import { Ledger, type OutboxCounters } from './outbox-ledger.js'
import { Message, type MessageParts, type MessageState, type OutboxItem } from './outbox-message.js'
import type { OutboxChange, OutboxListener, OutboxSettings, OutboxState } from './outbox-options.js'
import type { Receipt } from './outbox-receipt.js'

const DEFAULT_LANE = 'default'

/** The composition: what comes in at the door, or from the storage, goes into its lane while there is room. */
export class OutboxQueue implements Outbox {
  readonly #settings: OutboxSettings
  readonly #ledger = new Ledger()
  readonly #gate: Gate
  readonly #courier: Courier
  readonly #lanes: Lanes
  readonly #keeper: Keeper | undefined
  readonly #listeners = new Set<OutboxListener>()
  readonly #empty = new Set<() => void>()
  readonly #detach: () => void
  /** What was sent before the storage was looked through, newest last: it waits behind what is found there. */
  #early: Message[] | undefined
  #isFilling = false
  #isClosing = false
  #isClosed = false

  constructor(settings: OutboxSettings) {
    this.#settings = settings
    this.#gate = new Gate(settings)
    this.#courier = new Courier(settings, this.#gate)
    this.#lanes = new Lanes((message) => this.#courier.deliver(message))
    if (settings.onState) this.#listeners.add(settings.onState)
    const detach = [onLeaving(() => this.#leave()), onVisible(() => void this.#keeper?.look())]
    this.#detach = () => {
      for (const each of detach) each()
    }
    const { storage, address, clock } = settings
    if (!storage) return
    const onFound = () => {
      if (!this.#early) void this.#fill(keeper)
    }
    const keeper = new Keeper({ storage, address, clock, onError: (error) => this.#report(error), onFound })
    this.#keeper = keeper
    this.#early = []
    void this.#load(keeper)
  }

  get size(): number {
    return this.#ledger.size
  }

  get counters(): OutboxCounters {
    return this.#ledger.counters
  }

  get state(): OutboxState {
    if (this.#isClosed) return 'closed'
    if (this.#gate.isPaused) return 'paused'
    if (this.#ledger.sending > 0) return 'sending'
    return this.#isEmpty ? 'idle' : 'waiting'
  }

  items(): OutboxItem[] {
    return this.#ledger.messages.map((message) => message.snapshot())
  }

  send(data: unknown, options: SendOptions = {}): Promise<Receipt> {
    const { lane, retry = true } = options
    if (typeof retry !== 'boolean') throw new TypeError(`Expected \`retry\` to be true or false, got ${show(retry)}`)
    if (!retry && lane !== undefined) {
      throw new TypeError('Expected no `lane` beside `retry: false`: what is tried once has no order to keep')
    }
    const name = retry ? named('lane', lane ?? DEFAULT_LANE) : null
    const key = readKey(options.key)
    const body = encodeBody(data)
    this.#refuseIfClosed()
    this.#makeRoom(body)
    // Those who heard of what was dropped may have closed it.
    this.#refuseIfClosed()
    const message = this.#take({ key, lane: name, body, enqueuedAt: this.#settings.clock.now(), restored: false })
    if (name === null) void this.#courier.tryOnce(message)
    return message.receipt
  }

  onState(listener: OutboxListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  pause(): void {
    if (this.#gate.isPaused || this.#isClosed) return
    this.#gate.isPaused = true
    this.#tell()
  }

  resume(): void {
    if (!this.#gate.isPaused) return
    this.#gate.isPaused = false
    this.#tell()
  }

  idle(): Promise<void> {
    if (this.#isEmpty) return Promise.resolve()
    return new Promise((resolve) => this.#empty.add(resolve))
  }

  async close({ drainMs = 0 }: { drainMs?: number | undefined } = {}): Promise<void> {
    if (typeof drainMs !== 'number' || !(drainMs >= 0)) {
      throw new TypeError(`Expected \`drainMs\` to be a number of milliseconds, 0 or more, got ${show(drainMs)}`)
    }
    this.#isClosing = true
    if (drainMs > 0 && !this.#isEmpty) {
      let cancel = () => {}
      const late = new Promise<void>((resolve) => {
        cancel = this.#settings.clock.setTimeout(resolve, drainMs)
      })
      await Promise.race([this.idle(), late])
      cancel()
    }
    await this.#end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** A message is somewhere else now. */
  changed(message: Message, before: MessageState): void {
    this.#ledger.moved(message, before)
    // What was closed under way is for the next outbox on this storage. Before others hear of it: they may close this one.
    if (message.over && !this.#isClosed) this.#keeper?.forget(message)
    this.#tell(message)
    if (!message.over) return
    if (this.#keeper && !this.#early) void this.#fill(this.#keeper)
    this.#lookIfEmpty()
  }

  get #isEmpty(): boolean {
    if (this.#isClosed) return true
    return this.#ledger.size === 0 && !this.#early && !this.#keeper?.backlog
  }

  #refuseIfClosed(): void {
    if (this.#isClosing) throw new SseError('CLOSED', 'The outbox is closed, and takes no more messages.')
  }

  #take(parts: MessageParts): Message {
    const { clock, maxAgeMs } = this.#settings
    const message = new Message(parts, this)
    this.#ledger.add(message)
    const { lane, restored } = parts
    if (lane !== null) {
      if (!restored) this.#keeper?.keep(message)
      if (!restored && this.#early) this.#early.push(message)
      else this.#lanes.add(message, lane)
    }
    message.expireAfter(parts.enqueuedAt + maxAgeMs - clock.now(), clock)
    // Last, as those who hear of it may send something, which belongs behind it.
    if (!message.over) this.#tell(message)
    return message
  }

  #fits(body: Body): boolean {
    const { maxItems, maxBytes } = this.#settings
    return this.#ledger.size < maxItems && this.#ledger.bytes + body.bytes <= maxBytes
  }

  /** @throws SseError `OUTBOX_FULL` when there is none to be made. */
  #makeRoom(body: Body): void {
    const { maxItems, maxBytes, dropsOldest } = this.#settings
    const full = (why: string) =>
      new SseError('OUTBOX_FULL', `The outbox is full: ${why}. The message was not taken in.`)
    if (body.bytes > maxBytes)
      throw full(`one message of ${body.bytes} bytes is more than its \`maxBytes\` (${maxBytes})`)
    // What is stored came first, and there is no room for it, either.
    if (!this.#early && this.#keeper?.backlog) throw full('older messages are waiting in the storage')
    if (this.#fits(body)) return
    const size = `${this.#ledger.size} of ${maxItems} messages, ${this.#ledger.bytes} of ${maxBytes} bytes`
    if (!dropsOldest) throw full(size)
    const idle = this.#ledger.messages.filter(({ state }) => state !== 'sending')
    const dropped: Message[] = []
    let [items, bytes] = [this.#ledger.size, this.#ledger.bytes]
    while (items >= maxItems || bytes + body.bytes > maxBytes) {
      const oldest = idle[dropped.length]
      if (!oldest) throw full(`${size}, and all others are being sent`)
      dropped.push(oldest)
      items--
      bytes -= oldest.body.bytes
    }
    for (const message of dropped) message.giveUp('OUTBOX_FULL', 'It was dropped to make room for a newer one')
    // Those who heard of it may have sent something.
    if (!this.#fits(body)) throw full('what was dropped made room for others')
  }

  async #load(keeper: Keeper): Promise<void> {
    await keeper.open()
    await this.#fill(keeper)
    const early = this.#early ?? []
    this.#early = undefined
    for (const message of early) if (message.lane !== null) this.#lanes.add(message, message.lane)
    this.#tell()
    this.#lookIfEmpty()
  }

  /** Brings in what is stored, as far as there is room. */
  async #fill(keeper: Keeper): Promise<void> {
    if (this.#isFilling) return
    this.#isFilling = true
    while (keeper.backlog > 0 && !this.#isClosed) {
      const parts = await keeper.peek()
      // It hangs: what it holds comes when it answers.
      if (this.#isClosed || keeper.backlog === 0) break
      if (parts && parts.body.bytes <= this.#settings.maxBytes) {
        // Those that came last give way.
        while (!this.#fits(parts.body) && this.#dropNewestEarly()) {}
        // Those who heard of it may have closed the outbox.
        if (this.#isClosed || !this.#fits(parts.body)) break
        this.#take(parts)
      } else if (parts) {
        this.#report(new Error('A stored message is larger than `maxBytes`, and was left in the storage'))
      }
      keeper.skip()
    }
    this.#isFilling = false
    this.#lookIfEmpty()
  }

  #dropNewestEarly(): boolean {
    const newest = this.#early?.pop()
    newest?.giveUp('OUTBOX_FULL', 'The storage held enough older messages to fill the outbox')
    return newest !== undefined
  }

  /** The page goes away: what is first in its lane, and fits, is sent in a way that outlives the page. */
  #leave(): void {
    if (this.#isClosed) return
    const early = headsOf(this.#early ?? [], this.#ledger.messages, this.#keeper?.mayHoldOlder ?? false)
    const heads = [...this.#lanes.heads, ...early]
    for (const message of thatFit(heads)) void this.#courier.sendLast(message)
  }

  async #end(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true
      this.#detach()
      for (const message of this.#ledger.messages) {
        const stays = message.isStored ? ', and the message stays in the storage' : ''
        message.giveUp('CLOSED', `The outbox was closed${stays}`)
      }
      this.#tell()
      this.#listeners.clear()
      this.#lookIfEmpty()
    }
    await this.#keeper?.close()
  }

  #lookIfEmpty(): void {
    if (!this.#isEmpty) return
    if (!this.#isClosed) void this.#keeper?.look()
    for (const resolve of [...this.#empty]) resolve()
    this.#empty.clear()
  }

  #tell(message?: Message): void {
    if (this.#listeners.size === 0) return
    const change: OutboxChange = { state: this.state, size: this.size, item: message?.snapshot() }
    for (const listener of [...this.#listeners]) {
      try {
        const result: unknown = listener(change)
        if (result instanceof Promise) result.catch(() => {})
      } catch {
        // See OutboxListener.
      }
    }
  }

  #report(error: unknown): void {
    try {
      const result: unknown = this.#settings.onError(error)
      if (result instanceof Promise) result.catch(() => {})
    } catch {
      // There is nobody else to tell.
    }
  }
}
