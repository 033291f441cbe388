import type { Child } from '../child.js'
import type { HarmToAll } from './do-harm.js'
import type { Order } from './load.js'

/** What is harmed. */
export interface Scene {
  startWorker(): Child
  /** How many jobs are kept in flight. */
  readonly width: number
  /** Orders a job and waits for its answer; false when it gave up waiting. */
  answer(order: Order): Promise<boolean>
  readonly harmToAll: HarmToAll
  /** Lets jobs run now that the queue holds back, when nobody does harm any more. */
  hurry?(): Promise<void>
  /** Whether nothing is in flight any more. */
  idle(): Promise<boolean>
  /** Called when no worker is left. */
  judge(): Promise<Outcome>
}

/** What became of the jobs, printed as the last line. */
export interface Outcome {
  readonly jobs: number
  readonly lost: number
  readonly doubled: number
}
