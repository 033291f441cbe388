/** What a caller and its supervisor say to each other over their IPC channel. */
export interface SpawnOrder {
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** Both or none; only root can set them. */
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  /** stdout and stderr are appended to this file. */
  readonly logFile: string
  /** How to end the process when its data does not matter any more; whatever survives it is killed. */
  readonly endSignal: NodeJS.Signals
}

export type Request =
  | { readonly type: 'spawn'; readonly id: number; readonly order: SpawnOrder }
  | { readonly type: 'close' }

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export type Message =
  | { readonly type: 'ready'; readonly folder: string }
  | { readonly type: 'spawned'; readonly id: number; readonly pid: number }
  | { readonly type: 'refused'; readonly id: number; readonly code: string; readonly message: string }
  | ({ readonly type: 'exit'; readonly id: number } & Exit)
  | { readonly type: 'failed'; readonly message: string }
