// By code rather than by class: importing nothing of core at run time leaves it to the user's copy.

export const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined

/** The task is not this process's any more. */
export const isLost = (error: unknown): boolean => codeOf(error) === 'HOLDFAST_TASK_LOST'

/** This process begins no more jobs. */
export const isFinal = (error: unknown): boolean => isLost(error) || codeOf(error) === 'HOLDFAST_STOPPED'

/** It goes on by itself when the database answers again. */
export const isPassing = (error: unknown): boolean =>
  codeOf(error) === 'HOLDFAST_LEASE_EXPIRED' || codeOf(error) === 'HOLDFAST_DATABASE'

/** The job itself can't be protected, whoever tries. */
export const isPayloadError = (error: unknown): boolean =>
  codeOf(error) === 'HOLDFAST_PAYLOAD' || codeOf(error) === 'HOLDFAST_PAYLOAD_TOO_LARGE'
