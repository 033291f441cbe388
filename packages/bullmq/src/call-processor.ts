import type { ProtectedJob, ProtectedProcessor } from './bullmq.js'
import type { Delivery } from './delivery.js'

/** A signal that aborts with the first of `sources`. Call `unlink` when nobody listens any more. */
export function linkedSignal(...sources: (AbortSignal | undefined)[]): {
  signal: AbortSignal
  unlink(): void
} {
  const controller = new AbortController()
  const unlinks = sources.map((source) => {
    const abort = (): void => controller.abort(source?.reason)
    if (source?.aborted) abort()
    source?.addEventListener('abort', abort)
    return () => source?.removeEventListener('abort', abort)
  })
  return {
    signal: controller.signal,
    unlink: () => {
      for (const unlink of unlinks) unlink()
    },
  }
}

/** Calls a processor as BullMQ would, with what Holdfast adds. */
export function callProcessor<Data, Result, Name extends string>(
  processor: ProtectedProcessor<Data, Result, Name>,
  { job, token, task }: Delivery,
  signal: AbortSignal,
): Promise<Result> {
  Object.defineProperties(job, { signal: { value: signal }, task: { value: task } })
  return processor(job as unknown as ProtectedJob<Data, Result, Name>, token, signal)
}
