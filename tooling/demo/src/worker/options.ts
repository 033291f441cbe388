export interface WorkerOptions {
  /** Its name for people, and Holdfast's label. */
  readonly worker: string
  /** The database. */
  readonly url: string
  /** The slow HTTP server. */
  readonly server: string
  readonly holdfast: boolean
}

/** What a worker tells the demo. */
export type WorkerMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'stopped' }
  | { readonly type: 'trouble'; readonly text: string }
