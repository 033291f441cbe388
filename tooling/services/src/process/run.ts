import { execFile } from 'node:child_process'

export interface Outcome {
  readonly ok: boolean
  /** stdout and stderr. */
  readonly output: string
}

export interface RunOptions {
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

/** Runs a short command to its end. A command that cannot be started is a failed one. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { uid, gid, env, cwd } = options
  const user = uid !== undefined && gid !== undefined ? { uid, gid } : {}
  const limits = { maxBuffer: 64 * 1024 * 1024, encoding: 'utf8' as const }
  return new Promise((resolve) => {
    execFile(
      command,
      args,
      { ...limits, ...user, ...(env ? { env } : {}), ...(cwd ? { cwd } : {}) },
      (error, stdout, stderr) => {
        resolve({ ok: !error, output: `${stdout}${stderr}`.trim() || (error?.message ?? '') })
      },
    )
  })
}
