import type { AnyDatabase } from '@holdfast/chaos'
import type { DemoOptions } from './cli.js'
import type { Fleet } from './fleet.js'
import type { View } from './ui/view.js'

/** What every part of the demo works with. */
export interface Scene {
  readonly options: DemoOptions
  readonly db: AnyDatabase
  readonly fleet: Fleet
  readonly view: View
  /** Aborts with `Interrupted`. */
  readonly signal: AbortSignal
}
