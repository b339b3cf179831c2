import type { CrowdOptions, Incident } from './crowd.js'

const BEGIN_MS = 10_000

/** All processes stop at once, and are back after `awayMs`. */
export function restart(processes: number, awayMs: number): Incident[] {
  return Array.from({ length: processes }, (_, process) => [
    { atMs: BEGIN_MS, process, is: 'gone' } as const,
    { atMs: BEGIN_MS + awayMs, process, is: 'back' } as const,
  ]).flat()
}

/** Every other process, which is one of two regions, is away. */
export function regionLost(processes: number, awayMs: number): Incident[] {
  return restart(processes, awayMs).filter(({ process }) => process % 2 === 0)
}

/** One process after another. */
export function rollingDeploy(processes: number, everyMs: number, awayMs: number): Incident[] {
  return restart(processes, awayMs).map((incident) => ({
    ...incident,
    atMs: incident.atMs + incident.process * everyMs,
  }))
}

/** All processes restart, and let in what they can, however many come. Within 1 s they are back before any client is. */
export function crowded(clients: number, awayMs: number, processes = 20): Story['options'] {
  return { clients, processes, joinsPerSecond: JOINS, incidents: restart(processes, awayMs), lastsMs: 150_000 }
}

/** What one process lets in, a second, where it does not grow with the crowd. */
const JOINS = 5_000

export interface Story {
  readonly name: string
  readonly title: string
  readonly options: Omit<CrowdOptions, 'waiting' | 'retryMs'>
}

export function stories(clients: number, processes = 20): Story[] {
  // What one process lets in, a second, in proportion to the crowd: 5,000 of a million clients.
  const joinsPerSecond = clients / 200
  const base = { clients, processes, joinsPerSecond }
  return [
    {
      name: 'restart',
      title: 'all processes restart, and are away for 5 s',
      options: { ...base, incidents: restart(processes, 5_000), lastsMs: 120_000 },
    },
    {
      name: 'region',
      title: 'one of two regions is lost for 3 minutes',
      options: { ...base, regions: 2, incidents: regionLost(processes, 180_000), lastsMs: 300_000 },
    },
    {
      name: 'deploy',
      title: 'a rolling deploy, one process every 10 s, each away for 5 s',
      options: { ...base, incidents: rollingDeploy(processes, 10_000, 5_000), lastsMs: 300_000 },
    },
  ]
}
