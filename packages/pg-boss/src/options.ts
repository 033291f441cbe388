import type { RegisterOptions } from '@holdfast/core'

/** What the monitor is told of each job. */
type ProtectOptions = Pick<RegisterOptions, 'onCrash' | 'maxRuntime' | 'onOverdue'>

/**
 * What becomes of a job whose process died on its last attempt. `fail`: it is failed, with the reason in its `output`, and
 * goes to its dead letter queue. `refundOnce`: it gets one attempt more, once, and its `output` says so.
 */
export type ExhaustedPolicy = 'fail' | 'refundOnce'

export interface TrackOptions extends ProtectOptions {
  /**
   * Milliseconds. The task's signal then aborts.
   * @default the job's expireInSeconds, when pg-boss fails it
   */
  readonly maxRuntime?: number
  /**
   * The worker has pg-boss 12's option of that name: the handler answers for each job how it ended.
   * @default false
   */
  readonly perJobResults?: boolean
}

export interface HandOffOptions extends ProtectOptions {
  /**
   * Milliseconds. The task's signal then aborts, and what the handler throws is a failure.
   * @default the job's expireInSeconds: 15 minutes, unless it or its queue says otherwise
   */
  readonly maxRuntime?: number
  /** How many jobs of this handler this process works on at once; further ones wait, and keep their worker waiting. */
  readonly concurrency: number
}
