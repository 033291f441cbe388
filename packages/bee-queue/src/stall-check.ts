import type { BeeQueueInternals } from './bee-queue.js'
import type { RedisLink } from './redis-link.js'
import { PHANTOMS } from './scripts/phantoms.js'
import { UNATTENDED } from './scripts/unattended.js'

export interface StallCheckParts {
  readonly queue: BeeQueueInternals
  readonly link: RedisLink
  report(error: unknown): void
}

/**
 * bee-queue's own check, which gives back what a worker popped and never began. Only where nobody repeats it, and not
 * in its repeating form with a callback, which ends the process when Redis is away. Ids without a job, which it would
 * hand out for ever, are removed. Answers how to stop it.
 */
export function startStallCheck({ queue, link, report }: StallCheckParts): () => void {
  let busy = false
  let warned = false
  const check = async (): Promise<void> => {
    if (busy || queue.paused || link.closed) return
    busy = true
    try {
      if (!queue.checkTimer) await queue.checkStalledJobs()
      const removed = (await link.run(PHANTOMS)) as string[]
      if (!warned && Number(await link.run(UNATTENDED)) > 0) {
        warned = true
        report(
          new Error(
            `Delayed jobs of queue ${queue.name} wait, among them those that are retried with a backoff, and no queue ` +
              'activates them: make one with { activateDelayedJobs: true }.',
          ),
        )
      }
      if (removed.length > 0) {
        report(
          new Error(`bee-queue had ids without a job among the active ones; removed: ${removed.join(', ')}.`),
        )
      }
    } catch (error) {
      report(error)
    } finally {
      busy = false
    }
  }
  // A job is given back by the second of two checks that are stallInterval apart.
  const timer = setInterval(() => void check(), Math.max(50, queue.settings.stallInterval / 2))
  timer.unref()
  return () => clearInterval(timer)
}
