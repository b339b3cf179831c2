import { memoryStore } from 'steady-sse/memory'
import { createHub, type Hub } from 'steady-sse/server'

declare global {
  var __hub: Hub | undefined
}

// The module may run again, and more than once; the process has one hub.
globalThis.__hub ??= createHub({ store: memoryStore() })
export const hub: Hub = globalThis.__hub
