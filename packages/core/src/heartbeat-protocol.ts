import type { MessagePort } from 'node:worker_threads'
import type { MonitorConfig, StoreOptions } from './options.js'

/** What the heartbeat thread is started with. */
export interface HeartbeatThreadData {
  readonly processId: string
  /** A database URL, or the `file:` URL of a module that makes a Kysely. */
  readonly connection: string
  /** The application's file, from where its database driver is found. */
  readonly application: string
  readonly place: StoreOptions
  readonly times: Pick<MonitorConfig, 'heartbeatInterval' | 'orphanThreshold' | 'maxLoopBlock'>
  /** One 64 bit number: when the main thread's event loop last ran, in ns of `process.hrtime`. */
  readonly lastRun: SharedArrayBuffer
  /** Orders come in here, reports go out. */
  readonly port: MessagePort
}

export type HeartbeatOrder =
  /** Beat for this process from now on. */
  { readonly kind: 'beat'; readonly processId: string } | { readonly kind: 'stop' }

export type HeartbeatReport =
  | {
      readonly kind: 'beat'
      readonly processId: string
      /** In ms of `process.hrtime`, which all threads share; `performance.now()` starts anew in each. */
      readonly sentAt: number
      /** The database's clock in ms; null when the process is not alive there. */
      readonly databaseMs: number | null
    }
  | { readonly kind: 'failed'; readonly processId: string; readonly error: string }

/** Milliseconds on the monotonic clock that all threads of a process share. */
export const sharedNow = (): number => Number(process.hrtime.bigint()) / 1e6
