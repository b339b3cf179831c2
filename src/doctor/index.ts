/**
 * Says what is wrong on the path of a stream: the functions behind `npx steady-sse doctor`. For Node.
 *
 * @packageDocumentation
 */
export { diagnose } from './diagnose.js'
export type { Diagnosis, Mend, Verdict } from './diagnosis.js'
export { type ProbeOptions, type Progress, probe } from './probe.js'
export type { Product } from './recognise.js'
export type { Chunk, Failure, Frame, FrameKind, Head, Page, Redirect, Trace } from './trace.js'
