import type { MakeContender } from './contender.js'

/** By name, and loaded only when it is its turn: one library does not pay for another. */
export const contenders = {
  'raw socket': async (options) => (await import('./raw.js')).rawSocket(options),
  'pre-chunked on the socket': async (options) => (await import('./raw.js')).socketChunked(options),
  'res.write coalesced': async (options) => (await import('./raw.js')).resWriteCoalesced(options),
  'res.write': async (options) => (await import('./raw.js')).resWrite(options),
  'steady-sse': async (options) => (await import('./ours.js')).ours(options),
  'steady-sse [100]': async (options) => (await import('./ours.js')).oursBatch(options),
  'steady-sse pipe': async (options) => (await import('./ours.js')).oursPipe(options),
  'steady-sse writeSSE': async (options) => (await import('./ours.js')).oursWrite(options),
  'better-sse': async (options) => (await import('./peers.js')).betterSSE(options),
  'better-sse batch': async (options) => (await import('./peers.js')).betterSSEBatch(options),
  'better-sse shared batch': async (options) => (await import('./peers.js')).betterSSEShared(options),
  '@fastify/sse': async (options) => (await import('./peers.js')).fastifySse(options),
  hono: async (options) => (await import('./peers.js')).hono(options),
  h3: async (options) => (await import('./peers.js')).h3(options),
} satisfies Record<string, MakeContender>

export type ContenderName = keyof typeof contenders
