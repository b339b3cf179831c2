import { type ConnectionHooks, type Hub, JOIN, type JoiningHub } from '../../src/server/hub.js'
import type { From } from '../../src/server/reader.js'
import type { Sink, SinkListener } from '../../src/server/sink.js'
import { Frames } from './raw-reader.js'

/** A response without a network: the test says when there is room. */
export class ScriptedSink extends Frames implements Sink {
  /** What the next writes answer. */
  room = true
  state: 'open' | 'ended' | 'destroyed' = 'open'
  readonly sizes: number[] = []
  /** Called with each write. */
  onWrite: (text: string) => void = () => {}
  #listener: SinkListener | undefined

  bind(listener: SinkListener): void {
    this.#listener = listener
  }

  write(bytes: Uint8Array): boolean {
    this.sizes.push(bytes.length)
    this.push(bytes)
    this.onWrite(new TextDecoder().decode(bytes))
    return this.room
  }

  drain(): void {
    this.room = true
    this.#listener?.drained()
  }

  /** The peer leaves. */
  leave(): void {
    this.#listener?.closed()
  }

  end(): void {
    this.state = 'ended'
    this.leave()
  }

  destroy(): void {
    this.state = 'destroyed'
    this.leave()
  }
}

/** Opens a connection of a hub on a scripted sink. */
export async function openOn(
  hub: Hub,
  stream: string,
  request: { cursor?: string | undefined; from?: From; hooks?: ConnectionHooks<unknown>; sink?: ScriptedSink } = {},
): Promise<ScriptedSink> {
  const { cursor, from = 'now', hooks = {}, sink = new ScriptedSink() } = request
  const joined = await (hub as Hub & JoiningHub)[JOIN](stream, {
    request: undefined,
    cursor,
    from,
    signal: new AbortController().signal,
    pollMs: undefined,
    replay: undefined,
  })
  joined.open(sink, hooks)
  return sink
}
