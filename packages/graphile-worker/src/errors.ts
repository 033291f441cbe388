import {
  DatabaseError,
  LeaseExpiredError,
  PayloadError,
  PayloadTooLargeError,
  StoppedError,
  TaskLostError,
} from '@holdfast/core'

/** This process begins no more jobs. */
export const isFinal = (error: unknown): boolean => TaskLostError.is(error) || StoppedError.is(error)

/** It goes on by itself when the database answers again. */
export const isPassing = (error: unknown): boolean => LeaseExpiredError.is(error) || DatabaseError.is(error)

/** The job itself can't be protected, whoever tries. */
export const isPayloadError = (error: unknown): boolean =>
  PayloadError.is(error) || PayloadTooLargeError.is(error)
