import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { startServices } from '../start-services.js'
import type { StartOptions } from '../types.js'
import { EXIT } from './exit-codes.js'

/** Gives the exit code that a shell would give for the command. */
export async function runWithServices(
  names: readonly string[],
  options: StartOptions,
  command: readonly string[],
): Promise<number> {
  await using services = await startServices(names, options)
  return await runCommand(command, { ...process.env, ...services.urls })
}

function runCommand([file = '', ...args]: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { env, stdio: 'inherit' })
    const stopForwarding = forwardSignals((name) => child.kill(name))
    child.once('error', (error) => {
      stopForwarding()
      console.error(`services: cannot run ${file}: ${error.message}`)
      resolve(EXIT.cannotRun)
    })
    child.once('exit', (code, name) => {
      stopForwarding()
      resolve(code ?? EXIT.signal + (name ? constants.signals[name] : 0))
    })
  })
}

/** The command decides when it ends. A terminal sends its Ctrl-C to the command itself. */
function forwardSignals(send: (name: NodeJS.Signals) => void): () => void {
  const handlers = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((name) => {
    const handler = () => {
      if (name !== 'SIGINT' || !process.stdin.isTTY) send(name)
    }
    process.on(name, handler)
    return () => void process.off(name, handler)
  })
  return () => {
    for (const remove of handlers) remove()
  }
}
