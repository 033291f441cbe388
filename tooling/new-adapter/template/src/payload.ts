import type { MyQueueJob } from './queue.js'

/** What a task row holds of a job: all that it takes to make it runnable again, and to know this run from any other. */
export interface JobPayload {
  readonly id: string
  readonly data: unknown
}

export const payloadOf = ({ id, data }: MyQueueJob): JobPayload => ({ id, data })

/** The identity of a job, unique for all time: where my-queue may give an id again, more belongs to it than the id. */
export const jobRefOf = ({ id }: MyQueueJob): string => id
