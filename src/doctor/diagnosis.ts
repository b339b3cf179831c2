import type { Product } from './recognise.js'

/**
 * What a diagnosis can say:
 *
 * | verdict | meaning |
 * | --- | --- |
 * | `ok` | every frame came when it was sent |
 * | `buffered-by-proxy` | the application is prompt, and what is in front of it holds the stream |
 * | `buffered-by-application` | the origin itself holds the stream |
 * | `buffered` | something holds the stream; ask the origin as well to know what |
 * | `compressed` | the stream is compressed, whether that holds it or not |
 * | `headers-stripped` | the hints against buffering are lost on the way |
 * | `head-late` | the head waits for the first event |
 * | `cached` | the answer was made for another request |
 * | `cut-when-idle` | the connection is cut after a silence |
 * | `cut` | the connection is cut, or the response ended without a word, though events were flowing |
 * | `ended-at-once` | a 200 without a stream: it is over as soon as it began |
 * | `not-an-event-stream` | a page, JSON, or another type |
 * | `redirected` | the address leads elsewhere, and there is no stream |
 * | `unauthorised` | 401, 403, 407 |
 * | `not-found` | 404, 410 |
 * | `refused` | another status from 400 on |
 * | `upstream-failed` | 502, 503, 504 and their kin: a proxy did not get an answer |
 * | `unreachable` | no connection: the name, the port, the certificate |
 * | `no-answer` | a connection, and no head |
 * | `complete` | 204: the stream is sealed and read to its end |
 * | `quiet` | too little came to tell buffered from quiet |
 */
export type Verdict =
  | 'ok'
  | 'buffered-by-proxy'
  | 'buffered-by-application'
  | 'buffered'
  | 'compressed'
  | 'headers-stripped'
  | 'head-late'
  | 'cached'
  | 'cut-when-idle'
  | 'cut'
  | 'ended-at-once'
  | 'not-an-event-stream'
  | 'redirected'
  | 'unauthorised'
  | 'not-found'
  | 'refused'
  | 'upstream-failed'
  | 'unreachable'
  | 'no-answer'
  | 'complete'
  | 'quiet'

/** The verdict on a path, with its grounds. Plain data. */
export interface Diagnosis {
  readonly verdict: Verdict
  /** `ok`: streams come through. `problem`: something must be mended. `unknown`: it could not be told. */
  readonly outcome: 'ok' | 'problem' | 'unknown'
  /** The verdict in one line, with its number: `cut when idle after ~60 s`. */
  readonly line: string
  readonly reason: string
  /** Where the cause is; `unknown` unless the origin was asked or the cause shows by itself. */
  readonly where: 'proxy' | 'application' | 'unknown' | 'nowhere'
  /** What was seen. */
  readonly evidence: readonly string[]
  /** What else was seen and is no ground of the verdict. */
  readonly notes: readonly string[]
  /** Further verdicts that hold as well, behind the first. */
  readonly also: readonly Verdict[]
  /** What the response names as having handled it. */
  readonly recognised: readonly Product[]
  readonly mend: readonly Mend[]
}

/** What to change, where. */
export interface Mend {
  readonly title: string
  /** Lines of configuration, to be copied. */
  readonly lines: readonly string[]
}

/** What a rule found. */
export interface Finding {
  readonly verdict: Verdict
  readonly outcome: Diagnosis['outcome']
  readonly line: string
  readonly reason: string
  readonly where: Diagnosis['where']
  readonly evidence: readonly string[]
}
