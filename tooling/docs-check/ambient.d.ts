// What a code block of the docs may use without saying where it comes from.
import type { QueueAdapter, TaskHandle, TaskMonitor } from '@holdfast/core'
import type { Kysely } from 'kysely'

declare global {
  // biome-ignore lint/suspicious/noExplicitAny: a reader's own tables
  const db: Kysely<any>
  const adapter: QueueAdapter
  const monitor: TaskMonitor
  const task: TaskHandle
}
