// What the page may ask of the server. Each answer is a sentence for the visitor: what happens, and which promise holds.
import { type Fault, type Path, STORIES } from './path.js'
import type { World } from './world.js'

export type Control = (query: URLSearchParams) => Promise<string>

export function makeControls(world: World, paths: readonly Path[]): Readonly<Record<string, Control>> {
  const pathOf = (query: URLSearchParams) => paths[Number(query.get('path') ?? 0)]
  return {
    async publish(query) {
      const count = Math.max(Math.trunc(Number(query.get('count'))) || 1, 1)
      await world.publish(count, Number(query.get('padding')) || 0)
      return count === 1 ? 'Published one event.' : `Published ${count} events.`
    },
    async flow(query) {
      const on = query.get('on') === '1'
      world.flow(on)
      return on ? 'The server publishes one event every three seconds.' : 'The server publishes only when asked.'
    },
    async heartbeats(query) {
      const on = query.get('on') === '1'
      await world.heartbeats(on)
      return on
        ? 'A stream that is quiet for two seconds sends a heartbeat, and the path stays open. Promise: alive, and known to be.'
        : 'Without heartbeats and events the path takes silence for death, and cuts after ten seconds. Nothing is lost, for the client resumes; but a path that really died would not be noticed. Promise: ordered, once, or announced.'
    },
    async restart(query) {
      const forget = query.get('forget') === '1'
      await world.restart(forget)
      return forget
        ? 'The server came back and knows nothing. Its old cursors prove nothing now, so each client is told a gap before the first event. Promise: ordered, once, or announced.'
        : 'The server said goodbye, and came back with its memory. Each client goes on where it was, without a gap. Promise: ordered, once, or announced.'
    },
    async seal() {
      await world.seal()
      return 'The stream is complete: clients get the rest, their loops end, and whoever asks again is answered 204. Restart and forget to begin anew.'
    },
    async path(query) {
      const fault = query.get('fault') ?? ''
      const path = pathOf(query)
      if (!path || !isFault(fault)) return 'There is no such path or fault.'
      path.fault = fault
      return STORIES[fault]
    },
    async cut(query) {
      pathOf(query)?.cut()
      return STORIES.cut
    },
  }
}

function isFault(name: string): name is Fault {
  return Object.hasOwn(STORIES, name) && name !== 'cut'
}
