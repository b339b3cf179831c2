import { afterFailure, FIRST_RETRY_MS, parseRetryAfter } from './backoff.js'
import type { Message } from './outbox-message.js'
import type { OutboxSettings } from './outbox-options.js'
import { post } from './outbox-post.js'
import { rejection, type Verdict } from './outbox-receipt.js'
import { pause } from './wake.js'

/** A network that returns is announced; whether it did is looked at this often, too. */
const LOOK_MS = 30_000
/** Wakes that come closer than this are held back, or a flapping network would make a hammer of them. */
const WAKE_SPACING_MS = 1_000

/** Brings messages to the server, each until it is over. */
export interface Courier {
  readonly isPaused: boolean
  pause(): void
  resume(): void
  /** Tries until the message is over; what has no lane, once, and only if that can be now. Never rejects. */
  deliver(message: Message): Promise<void>
  /** One more request beside any that is under way, which outlives the page: mostly its answer comes to nobody. */
  sendLast(message: Message): Promise<void>
}

export function courierOf(settings: OutboxSettings): Courier {
  const { clock, maxAttempts, whenReady, stream, link, source } = settings
  let paused: Promise<void> | undefined
  let endPause = () => {}

  /** Whether nothing holds all messages back: a `pause()`, a stream that is not up, a network that is off. */
  function isOpen(): boolean {
    const { navigator } = globalThis as { navigator?: { onLine?: boolean } }
    return paused === undefined && !(whenReady && stream?.state !== 'open') && navigator?.onLine !== false
  }

  /**
   * Waits `ms`, or for the end of the message. A network or a page that is back, or a stream that is up again, ends
   * the wait, yet not before `soonestMs` of it passed.
   *
   * @returns whether it was cut short by one of these.
   */
  async function sleep(message: Message, ms: number, soonestMs: number): Promise<boolean> {
    const wait = pause(clock, ms, soonestMs)
    const detach = stream?.onState(({ state }) => state === 'open' && wait.wake())
    const isWoken = await Promise.race([wait.over, message.ended])
    detach?.()
    wait.stop()
    return isWoken === true
  }

  /** Has the headers made anew. Resolves with whether to try with them. */
  async function refresh(message: Message): Promise<boolean> {
    if (!source.renew) return false
    message.go('waiting')
    if (message.over) return false
    // What fails here fails again where the headers are made, as an attempt that did not leave.
    await Promise.race([source.renew().catch(() => {}), message.ended])
    return true
  }

  /** Has the stream opened anew, if the server does not know its connection. Resolves with whether to try once more. */
  async function reopen(message: Message, connection: string | null): Promise<boolean> {
    if (!stream || stream.state === 'closed') return false
    if (stream.state === 'open') {
      // It has no name, and would have none again.
      if (stream.connection === null) return false
      // Another message had it opened, or the stream came back by itself.
      if (stream.connection !== connection) return true
    }
    message.go('waiting')
    if (message.over) return false
    let detach = () => {}
    const reopened = new Promise<void>((resolve) => {
      detach = stream.onState(({ state }) => {
        if (state === 'open' || state === 'closed') resolve()
      })
    })
    link?.reopen()
    await Promise.race([reopened, message.ended])
    detach()
    return stream.state === 'open'
  }

  return {
    get isPaused() {
      return paused !== undefined
    },
    pause() {
      paused = new Promise((resolve) => {
        endPause = resolve
      })
    },
    resume() {
      paused = undefined
      endPause()
    },
    async deliver(message) {
      const once = message.item.lane === null
      // What an answer may call for, once each.
      const mends = new Map<Verdict | undefined, typeof reopen>()
      let answers = 0
      let failures = 0
      let wokenAt = 0
      if (!once) {
        mends.set('refresh', refresh).set('reopen', reopen)
        message.isFirst = true
        await Promise.race([message.kept, message.ended])
      } else if (!isOpen()) {
        message.giveUp('EXPIRED', 'It could not be sent at once')
      }
      while (!message.over) {
        // No attempt is spent on a network that is off.
        while (!once && !message.over && !isOpen()) {
          await (paused === undefined ? sleep(message, LOOK_MS, 0) : Promise.race([paused, message.ended]))
        }
        message.expireIfDue()
        if (message.over) return
        const { answer, verdict, retryAfter, connection } = await post(message, settings, false)
        if (message.over) return
        if (answer) {
          answers++
          const mend = mends.get(verdict)
          mends.delete(verdict)
          if (mend && (await mend(message, connection))) continue
          if (verdict !== 'retry' && verdict !== 'unsettled')
            return message.end({ error: rejection(answer, message.unanswered > 0) })
        }
        if (once && !answer) return message.giveUp('EXPIRED', 'Its one attempt failed')
        if (answer && (once || answers >= maxAttempts)) {
          return message.giveUp('RETRIES_EXHAUSTED', `The last of ${answers} answers was ${answer.status}`)
        }
        message.go('waiting')
        const now = clock.now()
        const floorMs = parseRetryAfter(retryAfter, now)
        const delayMs = afterFailure(++failures, Math.max(FIRST_RETRY_MS, floorMs), Math.random())
        message.notBefore = now + floorMs
        if (await sleep(message, delayMs, Math.max(floorMs, wokenAt + WAKE_SPACING_MS - now))) wokenAt = clock.now()
      }
    },
    async sendLast(message) {
      if (message.over || !isOpen() || message.notBefore > clock.now()) return
      await post(message, settings, true)
    },
  }
}
