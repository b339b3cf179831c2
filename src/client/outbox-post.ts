import type { Message } from './outbox-message.js'
import type { OutboxSettings } from './outbox-options.js'
import { answerOf, type SendAnswer, type Verdict, verdictOn } from './outbox-receipt.js'
import { quietly } from './quietly.js'

/** The most that is kept of an answer's body. */
const MAX_ANSWER_BYTES = 1_048_576

/** How one attempt ended. */
export interface PostResult {
  /** Not there when the request did not leave, or no whole answer came back. */
  readonly answer: SendAnswer | undefined
  readonly verdict: Verdict | undefined
  readonly retryAfter: string | null
  /** Of the stream, as the request named it. */
  readonly connection: string | null
}

/**
 * One request for a message and its answer, body included, within one deadline. It ends in time whatever the user's
 * functions, a custom `fetch` or a body do about it, and never rejects. What it came to is noted in the message, which
 * is accepted if the server did.
 *
 * @param keepalive - whether the request outlives the page.
 */
export function post(message: Message, settings: OutboxSettings, keepalive: boolean): Promise<PostResult> {
  const { clock, timeoutMs, credentials, source, stream, fetch } = settings
  const { item, signal } = message
  const connection = stream?.connection ?? null
  const controller = new AbortController()
  let response: Response | undefined
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  let body = ''
  let hasLeft = false
  let isWhole = false
  let isOver = false
  item.attempts++
  if (!keepalive) message.go('sending')

  const run = async () => {
    const headers = await source.make()
    headers.set('content-type', message.type)
    headers.set('idempotency-key', item.key)
    if (connection !== null) headers.set('sse-connection', connection)
    // At once: nothing may leave after it was said that nothing left.
    if (isOver) return
    hasLeft = true
    message.unanswered++
    response = await fetch(settings.url, {
      method: 'POST',
      body: item.body,
      headers,
      redirect: 'manual',
      // What outlives the page outlives the outbox, too: an app may close it just now.
      ...(keepalive ? { keepalive } : { signal: controller.signal }),
      ...(credentials && { credentials }),
    })
    reader = response.body?.getReader()
    const decoder = new TextDecoder()
    let room = MAX_ANSWER_BYTES
    while (reader && room > 0 && !isOver) {
      const { done, value } = await reader.read()
      if (done) break
      body += decoder.decode(value.subarray(0, room), { stream: true })
      room -= value.length
    }
    isWhole = true
  }

  return new Promise((resolve) => {
    const end = (because: ErrorOptions) => {
      quietly(() => reader?.cancel())
      if (isOver) return
      isOver = true
      cancelDeadline()
      controller.abort()
      // Of a failure the status says enough. Of a success, the body may be what was asked for: it can be had again.
      const answered = isWhole || !response?.ok ? response : undefined
      const answer = answered && answerOf(answered.status, body)
      const retryAfter = answered?.headers?.get('retry-after') ?? null
      const verdict = answer && verdictOn(answer.status, retryAfter)
      // At once: whoever ends the message before that knows of no answer.
      message.because = answer ? {} : because
      if (answer && verdict !== 'unsettled') message.unanswered--
      if (answer && verdict === 'accepted') {
        const replayed = answered?.headers?.get('idempotency-replayed') === 'true'
        message.end({ receipt: { ...answer, key: item.key, attempts: item.attempts, replayed } })
      }
      resolve({ answer, verdict, retryAfter, connection })
    }
    const late = () => new Error(`no ${hasLeft ? 'answer' : 'headers'} within ${timeoutMs} ms`)
    const cancelDeadline = clock.setTimeout(() => end({ cause: late() }), timeoutMs)
    signal.addEventListener('abort', () => end({}), { signal: controller.signal })
    // Who heard that it begins may have ended it.
    if (signal.aborted) end({})
    else
      run().then(
        () => end({}),
        (cause: unknown) => end({ cause }),
      )
  })
}
