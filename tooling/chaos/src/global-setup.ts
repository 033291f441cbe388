import { startServices } from '@holdfast/services'
import { legDatabase, servicesOf } from './leg.js'

interface TestProject {
  readonly config: { readonly env?: Readonly<Record<string, string>> }
}

/**
 * Vitest's global set-up: brings up what the tests of a project need, unless the environment names it already. Vitest
 * calls it for the projects that have a file to run (before a part of them is taken), one after the other, so that each
 * server is started once.
 */
export default async function setup({ config }: TestProject): Promise<() => Promise<void>> {
  const database = config.env?.HOLDFAST_TEST_DB ?? 'postgres'
  const more = config.env?.HOLDFAST_TEST_SERVICES?.split(',') ?? []
  // Only beside the newest Postgres has another one a variable that says its version.
  const newest = database.startsWith('postgres') ? ['postgres'] : []
  const services = await startServices([...newest, ...servicesOf(legDatabase(database)), ...more])
  Object.assign(process.env, services.urls)
  return () => services.stop()
}
