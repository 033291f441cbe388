import type { RegisterOptions } from '@holdfast/core'

/** What the monitor is told of each job. */
export type ProtectOptions = Pick<RegisterOptions, 'onCrash' | 'maxRuntime' | 'onOverdue'>

export type TrackOptions = ProtectOptions

export interface HandOffOptions extends ProtectOptions {
  /** How many jobs of this processor this process works on at once; further ones wait, and keep their worker waiting. */
  readonly concurrency: number
}
