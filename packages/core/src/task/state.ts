import type { GivenBackCause } from '../store/tasks.js'

/**
 * What is known of a task of this process: always one of these.
 *
 * - `writing`: its INSERT is on its way.
 * - `held`: its row is written, so it is protected; it has not begun.
 * - `begun`: it may run.
 * - `ending`: our own statement that ends it is on its way.
 * - `undecided`: a transaction of the caller's ends it, and nobody knows yet whether that commits.
 * - `doubtful`: the answer of a write was lost; it is repeated with each heartbeat until it is certain.
 * - `ended`: completed, released, lost to others, or never written.
 */
export type TaskState = 'writing' | 'held' | 'begun' | 'ending' | 'undecided' | 'doubtful' | 'ended'

/** A statement of ours that ends a task. */
export type EndWrite =
  | { readonly kind: 'complete' }
  | { readonly kind: 'release'; readonly cause: GivenBackCause; readonly payload?: string | undefined }

/** What is to be made certain of a doubtful task. */
export type Owed = { readonly kind: 'insert' } | EndWrite

/** How a task ended. `refused`: no row of it was ever written. */
export type Ended = 'completed' | 'released' | 'overdue' | 'lost' | 'refused'
