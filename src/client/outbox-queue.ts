import { SseError } from '../protocol/error.js'
import { expect, named } from '../protocol/options.js'
import { encodeBody } from './outbox-body.js'
import { courierOf } from './outbox-courier.js'
import type { Outbox, OutboxCounters } from './outbox-face.js'
import { keeperOf } from './outbox-keeper.js'
import { readKey } from './outbox-key.js'
import { lanes } from './outbox-lanes.js'
import { lastChances, watchPage } from './outbox-leaving.js'
import { type Message, type MessageParts, type MessageState, makeMessage } from './outbox-message.js'
import type { OutboxChange, OutboxListener, OutboxSettings, OutboxState } from './outbox-options.js'
import { quietly } from './quietly.js'

type Ending = Exclude<keyof OutboxCounters, 'pending'>

/** The codes whose counters are not called as they are. */
const CALLED: Partial<Record<string, Ending>> = { RETRIES_EXHAUSTED: 'exhausted', OUTBOX_FULL: 'dropped' }

/** The composition: what comes in at the door, or from the storage, goes into its lane while there is room. */
export function makeOutbox(settings: OutboxSettings): Outbox {
  const { clock, maxItems, maxBytes, overflow, storage } = settings
  const courier = courierOf(settings)
  const addToLane = lanes((message) => courier.deliver(message))
  const listeners = new Set<OutboxListener>(settings.onState && [settings.onState])
  const keeper =
    storage &&
    keeperOf(
      storage,
      settings,
      (error) => quietly(() => settings.onError?.(error)),
      () => void fill(),
    )
  /** What is in the outbox, in the order in which it came. */
  const messages = new Set<Message>()
  const counts: Record<Ending, number> = {
    enqueued: 0,
    accepted: 0,
    rejected: 0,
    uncertain: 0,
    expired: 0,
    exhausted: 0,
    closed: 0,
    dropped: 0,
  }
  /** What it weighs. */
  let bytes = 0
  /** How much of it is in a request. */
  let sending = 0
  const onEmpty: (() => void)[] = []
  /** What was sent before the storage was looked through, newest last: it waits behind what is found there. */
  let early: Message[] | undefined = keeper && []
  let isFilling = false
  let isClosing = false
  let isClosed = false

  const isEmpty = () => messages.size === 0 && !early && !keeper?.backlog
  const fits = (more: number, size = messages.size, weight = bytes) => size < maxItems && weight + more <= maxBytes

  const detach = watchPage(leave, () => void keeper?.look())
  void fill(keeper?.open())

  function state(): OutboxState {
    if (isClosed) return 'closed'
    if (courier.isPaused) return 'paused'
    if (sending > 0) return 'sending'
    return isEmpty() ? 'idle' : 'waiting'
  }

  function refuseIfClosed(): void {
    if (isClosing) throw new SseError('CLOSED', 'The outbox is closed.')
  }

  /** @throws SseError `OUTBOX_FULL` when there is none to be made. */
  function makeRoom(more: number): void {
    const full = (why: string) => new SseError('OUTBOX_FULL', `The outbox is full: ${why}.`)
    if (more > maxBytes) throw full(`one message of ${more} bytes is more than its \`maxBytes\` (${maxBytes})`)
    // What is stored came first, and there is no room for it, either.
    if (!early && keeper?.backlog) throw full('older messages are waiting in the storage')
    let { size } = messages
    let weight = bytes
    const dropped: Message[] = []
    for (const message of overflow === 'drop-oldest' ? messages : []) {
      if (fits(more, size, weight)) break
      if (message.item.state === 'sending') continue
      dropped.push(message)
      size--
      weight -= message.bytes
    }
    if (!fits(more, size, weight)) throw full(`${messages.size} of ${maxItems} messages, ${bytes} of ${maxBytes} bytes`)
    for (const message of dropped) message.giveUp('OUTBOX_FULL', 'It made room for a newer message')
    // Those who heard of it may have sent something.
    if (!fits(more)) throw full('what was dropped made room for others')
  }

  function take(parts: MessageParts): Message {
    const message = makeMessage(parts, settings, changed)
    const { lane, restored } = message.item
    messages.add(message)
    counts.enqueued++
    bytes += message.bytes
    if (lane !== null) {
      if (!restored) keeper?.keep(message)
      if (!restored && early) early.push(message)
      else addToLane(message)
    }
    message.expireIfDue()
    // Last, as those who hear of it may send something, which belongs behind it.
    if (!message.over) tell(message)
    return message
  }

  /** A message is somewhere else now. */
  function changed(message: Message, before: MessageState): void {
    const { over, item } = message
    if (before === 'sending') sending--
    if (item.state === 'sending') sending++
    if (over) {
      messages.delete(message)
      bytes -= message.bytes
      const code = item.error?.code ?? 'accepted'
      counts[CALLED[code] ?? (code.toLowerCase() as Ending)]++
    }
    // What was closed under way is for the next outbox on this storage. Before others hear of it: they may close this one.
    if (over && !isClosed) keeper?.forget(message)
    tell(message)
    if (!over) return
    void fill()
    lookIfEmpty()
  }

  /** Brings in what is stored, as far as there is room. Behind it comes what was sent before. */
  async function fill(opened?: Promise<void>): Promise<void> {
    if (!keeper || isFilling) return
    isFilling = true
    await opened
    while (keeper.backlog > 0) {
      const parts = await keeper.peek()
      // It hangs: what it holds comes when it answers. Or the outbox was closed.
      if (keeper.backlog === 0) break
      if (parts) {
        // Those that came last give way.
        while (!fits(parts.bytes) && early?.length) {
          early.pop()?.giveUp('OUTBOX_FULL', 'It made room for an older message')
        }
        // Those who heard of it may have closed the outbox.
        if (isClosed || !fits(parts.bytes)) break
        take(parts)
      }
      keeper.skip()
    }
    isFilling = false
    if (early) {
      const waiting = early
      early = undefined
      waiting.forEach(addToLane)
      tell()
    }
    lookIfEmpty()
  }

  /** The page goes away: what is first in its lane, and fits, is sent in a way that outlives the page. */
  function leave(): void {
    const last = lastChances([...messages], early ?? [], keeper?.mayHoldOlder ?? false)
    for (const message of last) void courier.sendLast(message)
  }

  function lookIfEmpty(): void {
    if (!isEmpty()) return
    void keeper?.look()
    for (const resolve of onEmpty.splice(0)) resolve()
  }

  function tell(message?: Message): void {
    const change: OutboxChange = { state: state(), size: messages.size, item: message && { ...message.item } }
    for (const listener of [...listeners]) quietly(() => listener(change))
  }

  const outbox: Outbox = {
    get size() {
      return messages.size
    },
    get counters() {
      return { ...counts, pending: messages.size }
    },
    get state() {
      return state()
    },
    items: () => Array.from(messages, ({ item }) => ({ ...item })),
    send(data, { key, lane, retry = true } = {}) {
      expect(typeof retry === 'boolean', 'retry', 'to be true or false', retry)
      expect(retry || lane === undefined, 'lane', 'to be left out with `retry: false`', lane)
      const parts = {
        key: readKey(key),
        lane: retry ? named('lane', lane ?? 'default') : null,
        ...encodeBody(data),
        enqueuedAt: clock.now(),
        restored: false,
      }
      refuseIfClosed()
      makeRoom(parts.bytes)
      // Those who heard of what was dropped may have closed it.
      refuseIfClosed()
      const message = take(parts)
      if (!retry) void courier.deliver(message)
      return message.receipt
    },
    onState(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    pause() {
      if (courier.isPaused || isClosed) return
      courier.pause()
      tell()
    },
    resume() {
      if (!courier.isPaused) return
      courier.resume()
      tell()
    },
    async idle() {
      if (!isEmpty()) await new Promise<void>((resolve) => onEmpty.push(resolve))
    },
    async close({ drainMs = 0 } = {}) {
      expect(
        typeof drainMs === 'number' && drainMs >= 0,
        'drainMs',
        'to be a number of milliseconds, 0 or more',
        drainMs,
      )
      isClosing = true
      if (drainMs > 0 && !isEmpty()) {
        let cancel = () => {}
        await new Promise<void>((resolve) => {
          onEmpty.push(resolve)
          cancel = clock.setTimeout(resolve, drainMs)
        })
        cancel()
      }
      const letGo = keeper?.close()
      if (!isClosed) {
        isClosed = true
        detach()
        early = undefined
        for (const { giveUp, isStored } of [...messages]) {
          giveUp('CLOSED', `The outbox was closed${isStored ? ', and the message stays in the storage' : ''}`)
        }
        tell()
        listeners.clear()
        lookIfEmpty()
      }
      await letGo
    },
    [Symbol.asyncDispose]: () => outbox.close(),
  }
  return outbox
}
