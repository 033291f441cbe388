/** How one prepared server is run. Its data is there already; only the port is still open. */
export interface ServicePlan {
  readonly command: string
  args(port: number): readonly string[]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  readonly logFile: string
  readonly fastSignal: NodeJS.Signals
  readonly immediateSignal: NodeJS.Signals
  /** Writes what has to carry the port for a server that takes it from a file only. */
  beforeStart?(port: number): Promise<void>
  /** Whether the server answers in its own protocol. */
  answers(port: number): Promise<boolean>
  url(port: number): string
  /** Removes what a killed server leaves outside of its folder. */
  afterKill?(): Promise<void>
}
