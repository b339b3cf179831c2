import type { Clock } from '../protocol/clock.js'
import { show } from '../protocol/options.js'
import { ACKNOWLEDGE, type Acknowledgements, type AcknowledgingHub, type Hub } from './hub.js'
import { type Incoming, messageOf } from './message.js'
import { Refusal } from './refusal.js'
import type { Answer } from './serve.js'

/** Room for a cursor and the name of a connection, however they are escaped. */
const MAX_BODY_BYTES = 8_192
const DONE: Answer = { kind: 'answer', status: 204, headers: {}, body: '' }

/** Takes what clients acknowledge to the hub that has their connections. */
export class Acknowledger {
  readonly clock: Clock
  readonly bodyTimeoutMs = 15_000
  readonly onError: ((error: unknown) => void) | undefined
  readonly #acknowledgements: Acknowledgements

  constructor(hub: Hub) {
    const acknowledgements = (hub as Partial<AcknowledgingHub> | null | undefined)?.[ACKNOWLEDGE]
    if (!acknowledgements) throw new TypeError(`Expected a hub, made by createHub(), got ${show(hub)}`)
    this.#acknowledgements = acknowledgements
    this.clock = acknowledgements.clock
    this.onError = acknowledgements.onError
  }

  async answer(_request: unknown, incoming: Incoming): Promise<Answer> {
    try {
      if (incoming.method !== 'POST') throw new Refusal(405, 'Expected a POST.', { allow: 'POST' })
      const { clock, bodyTimeoutMs } = this
      const { value } = await messageOf(incoming, { clock, bodyTimeoutMs, maxBodyBytes: MAX_BODY_BYTES })
      const { connection, cursor } = (value ?? {}) as { connection?: unknown; cursor?: unknown }
      if (typeof connection !== 'string' || !(typeof cursor === 'string' || cursor === null)) {
        throw new Refusal(400, 'Expected an object with `connection`, a string, and `cursor`, a string or null.')
      }
      if (!this.#acknowledgements.take(connection, cursor)) throw new Refusal(404, 'No such connection.')
      return DONE
    } catch (error) {
      incoming.stop()
      if (error instanceof Refusal) return error.answer
      throw error
    }
  }
}
