import { ConfigError, DatabaseError, NotProtectedError, type TaskHandle, TaskLostError } from '@holdfast/core'
import type { HandOffPayload, StartedPayload, TaskPayload } from './payloads.js'

/**
 * Gives a row to recovery with the first of these payloads that is not refused, as one is that is too large, or that the
 * user's codec doesn't take; at last as it is. A row that was kept would be a job in flight until this process ends.
 *
 * @throws TaskLostError, NotProtectedError
 * @throws DatabaseError without an answer; it is then repeated with every heartbeat
 */
export async function releaseRow(
  row: Pick<TaskHandle, 'release'>,
  payloads: Iterable<TaskPayload>,
): Promise<void> {
  for (const payload of payloads) {
    try {
      return await row.release({ payload })
    } catch (error) {
      if (OF_THE_ROW.some((kind) => kind.is(error))) throw error
    }
  }
  await row.release()
}

const OF_THE_ROW = [TaskLostError, NotProtectedError, DatabaseError, ConfigError]

/** The same for a job that failed: with what it failed by, if that is taken. */
export function releaseFailed(
  row: Pick<TaskHandle, 'release'>,
  payload: StartedPayload | HandOffPayload,
  failure: string,
): Promise<void> {
  return releaseRow(row, [
    { ...payload, failure },
    { ...payload, failure: 'Failed; with what could not be stored.' },
  ])
}
