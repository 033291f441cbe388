import { Child } from '../child.js'
import { until } from '../until.js'

/** Found from `dist`. */
const LEASH = new URL('../hooks/leash.mjs', import.meta.url)

/**
 * Starts a script as a process that doesn't outlive this one.
 *
 * @param preloads modules that are loaded into it before the script
 */
export const start = (
  script: URL,
  env: Readonly<Record<string, string>>,
  preloads: readonly URL[] = [],
): Child =>
  new Child(script.pathname, {
    env,
    execArgv: [LEASH, ...preloads].flatMap(({ href }) => ['--import', href]),
  })

export interface StartedServer {
  readonly url: string
  stop(): Promise<void>
}

/** Starts one that listens, and waits for its address. */
export async function startServer(
  script: URL,
  env: Readonly<Record<string, string>>,
): Promise<StartedServer> {
  const child = start(script, { PORT: '0', ...env })
  const url = await until(
    () => {
      if (child.process.exitCode !== null) throw new Error(`${script.pathname} ended:\n${child.output}`)
      return /http:\S+/.exec(child.output)?.[0]
    },
    { what: `${script.pathname} listens` },
  )
  return {
    url,
    async stop() {
      child.process.kill('SIGTERM')
      await child.exited
    },
  }
}
