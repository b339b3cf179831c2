/**
 * For tests of your own: a clock that is moved by hand, a network in memory with the faults you choose, and what the
 * ports for stores, sources and receipts mean, as cases. Works under any test runner.
 *
 * @packageDocumentation
 */
export type { Case } from './conformance.js'
export type { Fault, Handler, ScriptedAnswer } from './faults.js'
export { receiptsConformance } from './receipts-conformance.js'
export type { ReceiptsHarness } from './receipts-world.js'
export { type ScriptedWritable, scriptedWritable, type TargetEvent, type WriteScript } from './scripted-writable.js'
export { type SimulateOptions, simulate } from './simulate.js'
export { type SourceHarness, sourceConformance } from './source-conformance.js'
export { storeConformance } from './store-conformance.js'
export type { StoreHarness, StoreTransaction } from './store-world.js'
export { type VirtualClock, virtualClock } from './virtual-clock.js'
