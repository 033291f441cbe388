import { DatabaseError, JobTakenError, NotStartedError, StoppedError, TaskLostError } from '@holdfast/core'

/** This process begins no more jobs, or is about to go on under another id: others take it. */
export const takesNoMore = (error: unknown): boolean =>
  StoppedError.is(error) || NotStartedError.is(error) || TaskLostError.is(error) || JobTakenError.is(error)

/** Lost: whoever has the row sees to the job. Not reached: the monitor tries again with every heartbeat. */
export function unlessSettled(error: unknown): void {
  if (!TaskLostError.is(error) && !DatabaseError.is(error)) throw error
}
