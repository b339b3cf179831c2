// The server of the smoke for workerd: the hub lives in a Durable Object, which all requests reach. With it, a client
// that runs in the worker itself.
import { connect } from 'steady-sse/client'
import { sse } from 'steady-sse/web'
import { createWorld } from './world.mjs'

export class Streams {
  #world = createWorld()
  #stream = sse(this.#world.hub, this.#world.options)

  async fetch(request) {
    if (this.#world.isControl(request.url)) return Response.json(await this.#world.control(request.url))
    return this.#stream(request)
  }
}

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url)
    if (pathname !== '/client') return streams(env).fetch(request)
    const items = []
    for await (const item of connect(searchParams.get('url'))) {
      items.push(item.json().n)
      if (items.length === Number(searchParams.get('count'))) break
    }
    return Response.json(items)
  },
}

function streams({ STREAMS }) {
  return STREAMS.get(STREAMS.idFromName('all'))
}
