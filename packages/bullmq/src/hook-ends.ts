import { isConnectionError, isLost } from './bullmq.js'
import type { Delivery } from './delivery.js'

export interface EndHooks {
  /** Takes the job over instead of its end, when BullMQ sees it as completed. */
  readonly handsOff: ((delivery: Delivery) => void) | undefined
  ended(how: 'endRow' | 'handBack'): Promise<void>
}

/** The commands by which a worker ends a run. */
const ENDS = ['moveToCompleted', 'moveToFailed', 'moveToWait'] as const

type End = (...args: unknown[]) => Promise<unknown>

/**
 * Hears of the end that BullMQ writes of a job: its row ends after that, so that no crash in between loses the job. A job
 * that BullMQ has taken for stalled meanwhile is claimed back once.
 */
export function hookEnds(delivery: Delivery, { handsOff, ended }: EndHooks): void {
  const { job } = delivery
  for (const name of ENDS) {
    const write = (job[name] as End).bind(job)
    const isCompletion = name === 'moveToCompleted'
    const value: End = async (...args) => {
      if (delivery.state !== 'running') return write(...args)
      let result: unknown
      try {
        result = await write(...args)
      } catch (error) {
        const isOurs = isLost(error) && (await delivery.reclaim())
        if (!isOurs) {
          // Of other failures of a completion BullMQ goes on to fail the job, and it tries a connection again.
          if (isLost(error)) void ended('endRow')
          else if (!isCompletion && !isConnectionError(error)) void ended('handBack')
          throw error
        }
        result = await write(...args)
      }
      if (isCompletion && handsOff !== undefined) {
        delivery.returned = false
        handsOff(delivery)
      }
      // Nobody waits for the row, which may take long while the database is away.
      else void ended('endRow')
      return result
    }
    Object.defineProperty(job, name, { value, configurable: true, writable: true })
  }
}
