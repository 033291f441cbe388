import { startServices } from '../start-services.js'
import type { StartOptions } from '../types.js'

const ENDS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Until a signal ends it; a second one does not wait for the servers, which the supervisor then ends. */
export async function keepUp(names: readonly string[], options: StartOptions, json: boolean): Promise<void> {
  const services = await startServices(names, options)
  console.log(json ? JSON.stringify(services.urls) : Object.entries(services.urls).map(assignment).join('\n'))
  console.error('services: up. Ctrl-C stops them and removes their data.')
  await endingSignal()
  await services.stop()
}

function endingSignal(): Promise<void> {
  return new Promise((resolve) => {
    // Signal handlers alone do not keep a process alive.
    const alive = setInterval(() => {}, 2 ** 30)
    for (const name of ENDS) {
      process.once(name, () => {
        clearInterval(alive)
        resolve()
      })
    }
  })
}

/** As a shell reads it. */
function assignment([name, url]: [string, string]): string {
  return /^[\w@%+=:,./-]*$/.test(url) ? `${name}=${url}` : `${name}='${url.replaceAll("'", `'\\''`)}'`
}
