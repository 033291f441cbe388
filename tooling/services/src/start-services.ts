import { UnknownServiceError } from './errors.js'
import { ExternalService } from './external-service.js'
import { freePort, isFree } from './free-port.js'
import { ManagedService } from './managed-service.js'
import { newestPostgres, withPostgres } from './pgbouncer/upstream.js'
import { prepare } from './prepare.js'
import { findServiceUser, findTempBase } from './process/service-user.js'
import { Supervisor } from './process/supervisor-client.js'
import { parseSpecs, type ServiceSpec } from './spec.js'
import type { RunningService, Services, StartContext, StartOptions } from './types.js'

const PORT_ATTEMPTS = 5

/**
 * Starts what is named and stops it again whatever happens to this process. A service whose URL is in the
 * environment is taken from there. When one fails to start, the others are stopped and its error is thrown.
 */
export async function startServices(names: readonly string[], options: StartOptions = {}): Promise<Services> {
  const context: StartContext = {
    durable: options.durable ?? false,
    log: options.log ?? ((line) => void process.stderr.write(`services: ${line}\n`)),
  }
  const given = (spec: ServiceSpec) => (options.private ? undefined : process.env[spec.env] || undefined)
  const specs = withPostgres(parseSpecs(names), given)
  const supervisor = specs.every(given)
    ? undefined
    : await Supervisor.start(await findTempBase(await findServiceUser()))
  const starting = new Map<ServiceSpec, Promise<RunningService>>()
  const postgresUrl = async () => (await starting.get(newestPostgres(specs)!)!).url
  for (const spec of specs) {
    const url = given(spec)
    const service = url
      ? Promise.resolve(new ExternalService(spec, url))
      : startOne(spec, supervisor!, context, postgresUrl)
    starting.set(spec, service)
  }
  const results = await Promise.allSettled(starting.values())
  const failures = results.filter((result) => result.status === 'rejected')
  if (failures.length > 0) {
    await supervisor?.close()
    // A pooler fails with the very error of the Postgres that it waits for.
    const [first, ...others] = new Set(failures.map(({ reason }) => reason as Error))
    for (const other of others) context.log(other.message)
    throw first
  }
  const services = results.filter((result) => result.status === 'fulfilled').map(({ value }) => value)
  return bundle(services, async () => supervisor?.close())
}

/** Somebody may take the port between our looking and the server's listening: then another one is tried. */
async function startOne(
  spec: ServiceSpec,
  supervisor: Supervisor,
  context: StartContext,
  postgresUrl: () => Promise<string>,
): Promise<RunningService> {
  const plan = await supervisor.hold(prepare(spec, supervisor, context, postgresUrl))
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    const service = new ManagedService(spec, port, plan, supervisor, context)
    try {
      await service.start()
      return service
    } catch (error) {
      if (attempt === PORT_ATTEMPTS || (await isFree(port))) throw error
    }
  }
}

function bundle(services: readonly RunningService[], stop: () => Promise<void>): Services {
  return {
    urls: Object.freeze(Object.fromEntries(services.map(({ env, url }) => [env, url]))),
    get(name) {
      const found =
        services.find((service) => service.name === name) ??
        services.find((service) => service.name.split('@')[0] === name)
      if (found) return found
      const started = services.map((service) => service.name).join(', ') || 'nothing'
      throw new UnknownServiceError(name, `'${name}' was not started; ${started} was`)
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}
