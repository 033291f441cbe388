// What the adapter needs of my-queue, as types: its package is not loaded where that can be avoided.

/** A job as my-queue gives it to a handler. */
export interface MyQueueJob {
  readonly id: string
  readonly data: unknown
}

/** my-queue's own object of a queue. */
export interface MyQueue {
  readonly name: string
}
