/** `fast` lets the server shut down in good order; `immediate` is a crash: no flush, no goodbye to its clients. */
export type StopMode = 'fast' | 'immediate'

export interface RunningService {
  /** As it was asked for: `postgres`, `postgres@14`, `redis`, … */
  readonly name: string
  readonly url: string
  readonly port: number
  /** The environment variable that carries the URL. */
  readonly env: string
  /** False when the URL came from the environment: then the server is not ours to stop. */
  readonly managed: boolean
  /** The server's process; undefined while it is stopped, and for a server that is not ours. */
  readonly pid: number | undefined
  stop(mode?: StopMode): Promise<void>
  /** Starts the stopped server again, on the same port and the same data. */
  start(): Promise<void>
  /** SIGKILL for the server and all of its child processes. */
  kill(): Promise<void>
  /** Freezes the server's processes: its connections stay open and nothing answers. */
  pause(): Promise<void>
  resume(): Promise<void>
}

export interface Services extends AsyncDisposable {
  /** Keyed by the environment variables' names, e.g. `HOLDFAST_POSTGRES_URL`. */
  readonly urls: Readonly<Record<string, string>>
  get(name: string): RunningService
  /** Stops every service and removes their data. */
  stop(): Promise<void>
}

export interface StartOptions {
  /** Take no URL from the environment: a test that stops its server needs one of its own. */
  readonly private?: boolean
  /** Write to disk as a production server would, for tests that crash more than processes. */
  readonly durable?: boolean
  /** Told what takes long or goes wrong; stderr by default. */
  readonly log?: (line: string) => void
}

/** `StartOptions` with the defaults filled in. */
export interface StartContext {
  readonly durable: boolean
  readonly log: (line: string) => void
}
