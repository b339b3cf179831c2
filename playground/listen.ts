import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Listens on the port, or, where that is taken, on any that is free. */
export async function listen(server: Server, port: number, host: string): Promise<void> {
  try {
    await once(server.listen(port, host), 'listening')
  } catch (error) {
    if (port === 0 || (error as { code?: unknown }).code !== 'EADDRINUSE') throw error
    await once(server.listen(0, host), 'listening')
  }
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}
