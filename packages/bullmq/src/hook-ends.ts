import { setTimeout as delay } from 'node:timers/promises'
import { isConnectionError, isLost, leaveAlone, type WorkerInternals } from './bullmq.js'
import type { Delivery } from './delivery.js'
import type { Ends } from './ends.js'
import { movedTooLate, storableError, thrownTooLate } from './thrown.js'

/** Milliseconds between tries while Redis refuses an end. */
const RETRY = 250

export interface EndHooks {
  /** Takes the job over instead of its end, when BullMQ sees it as completed. */
  readonly handsOff: ((delivery: Delivery) => void) | undefined
  /** The calls of its processor that are under way, from before it has begun. */
  readonly calls: ReadonlySet<Promise<unknown>>
  ended(how: 'endRow' | 'handBack'): Promise<void>
}

/**
 * Hears of the end that BullMQ writes of a job: its row ends after that, so that no crash in between loses the job. A job
 * that BullMQ has taken for stalled meanwhile is claimed back once.
 */
export function hookEnds(delivery: Delivery, hooks: EndHooks): void {
  const { job, ends } = delivery
  const hook = (name: keyof Ends, value: Ends[keyof Ends]): void => {
    Object.defineProperty(job, name, { value, configurable: true, writable: true })
  }
  const hookMove = (name: keyof Ends, move: Ends[keyof Ends]): void =>
    hook(name, async (...args) => {
      if (delivery.handsOff || !(await delivery.hasCompleted())) return move(...args)
      delivery.worker.emit('error', movedTooLate(job.id))
      await write(delivery, hooks, true, () => complete(delivery, undefined, [delivery.token, false]))
      return 0 // For whom it matters: nothing to wait for.
    })
  hookMove('moveToWait', (...args) => write(delivery, hooks, false, () => ends.moveToWait(...args)))
  hookMove('moveToDelayed', ends.moveToDelayed)
  hookMove('moveToWaitingChildren', ends.moveToWaitingChildren)
  hook('moveToCompleted', async (result, ...args) => {
    // A wrapper did not wait for it.
    for (const call of hooks.calls) result = await waitFor(delivery, call)
    const handsOff = delivery.state === 'running' && delivery.handsOff
    const isDecided = !handsOff && (await outcome(delivery)) === 'completed'
    return write(delivery, hooks, true, () =>
      isDecided ? complete(delivery, result, args) : ends.moveToCompleted(result, ...args),
    )
  })
  hook('moveToFailed', async (thrown, ...args) => {
    if (delivery.own?.isRunning) delivery.abort(thrown) // A wrapper has given it up.
    const isDecided = (await outcome(delivery)) === 'completed'
    if (isDecided) delivery.worker.emit('error', thrownTooLate(job.id, 'completed', thrown))
    return write(delivery, hooks, isDecided, () =>
      isDecided ? complete(delivery, undefined, args) : fail(delivery, thrown, args),
    )
  })
}

/** What its processor has made of its task, once and for all. @throws Error that keeps BullMQ from writing an end */
async function outcome(delivery: Delivery): Promise<string> {
  if (delivery.state === 'beginning') return 'open' // It could not begin.
  const became = delivery.state === 'running' ? await delivery.own!.outcome() : 'released'
  // Whatever a wrapper has made of the error that says so.
  if (became === 'released') throw leaveAlone(delivery.job)
  return became
}

async function waitFor(delivery: Delivery, call: Promise<unknown>): Promise<unknown> {
  const { worker, job, token } = delivery
  // BullMQ has ceased to renew its lock.
  worker.lockManager.trackJob(job.id!, token, Date.now())
  return call.finally(() => worker.lockManager.untrackJob(job.id!))
}

/**
 * What has committed is completed, also where JSON can't hold its result, and as soon as a Redis that refuses it takes it.
 *
 * @throws Error that BullMQ knows how to go on from: its lock or its connection is lost
 */
async function complete(
  { ends, worker, job, token }: Delivery,
  result: unknown,
  args: readonly unknown[],
): Promise<unknown> {
  const storable = storableResult(worker, result)
  const since = Date.now()
  for (;;) {
    try {
      return await ends.moveToCompleted(storable, ...args)
    } catch (error) {
      if (isLost(error) || isConnectionError(error) || worker.closed) throw error
      worker.emit('error', error as Error)
    }
    // BullMQ has ceased to renew its lock, and does so again when it has put another fetch of it away.
    worker.lockManager.trackJob(job.id!, token, since)
    await delay(RETRY)
  }
}

function storableResult(worker: WorkerInternals, result: unknown): unknown {
  try {
    JSON.stringify(result)
    return result
  } catch (error) {
    worker.emit('error', error as Error)
    return undefined
  }
}

/** Without another try where BullMQ can't say when, since a backoff of the user's throws. */
async function fail({ ends, worker }: Delivery, thrown: unknown, args: readonly unknown[]): Promise<unknown> {
  const error = storableError(thrown)
  try {
    return await ends.moveToFailed(error, ...args)
  } catch (cause) {
    if (isLost(cause) || isConnectionError(cause)) throw cause
    worker.emit('error', cause as Error)
    const { message, stack } = error
    const last = Object.assign(new Error(message), { name: 'UnrecoverableError', stack })
    return ends.moveToFailed(last, ...args)
  }
}

/** Writes the end of a job, and then that of its row; or hands the job off. */
async function write(
  delivery: Delivery,
  { handsOff, ended }: EndHooks,
  isCompletion: boolean,
  end: () => Promise<unknown>,
): Promise<unknown> {
  if (delivery.state !== 'running') return end()
  let result: unknown
  try {
    result = await end()
  } catch (error) {
    const isOurs = isLost(error) && (await delivery.reclaim())
    if (!isOurs) {
      // Of other failures of a completion BullMQ goes on to fail the job, and it tries a connection again.
      if (isLost(error)) void ended('endRow')
      else if (!isCompletion && !isConnectionError(error)) void ended('handBack')
      throw error
    }
    result = await end()
  }
  if (isCompletion && delivery.handsOff) {
    delivery.returned = false
    handsOff!(delivery)
  }
  // Nobody waits for the row, which may take long while the database is away.
  else void ended('endRow')
  return result
}
