import { ServiceNotManagedError } from './errors.js'
import type { ServiceSpec } from './spec.js'
import type { RunningService } from './types.js'

const DEFAULT_PORTS = { postgres: 5432, pgbouncer: 6432, mariadb: 3306, mysql: 3306, redis: 6379 } as const

/** A server whose URL came from the environment. */
export class ExternalService implements RunningService {
  readonly name: string
  readonly env: string
  readonly url: string
  readonly port: number
  readonly managed = false
  readonly pid = undefined

  constructor(spec: ServiceSpec, url: string) {
    this.name = spec.name
    this.env = spec.env
    this.url = url
    this.port = (URL.canParse(url) && Number(new URL(url).port)) || DEFAULT_PORTS[spec.kind]
  }

  async stop(): Promise<void> {
    throw this.#refusal('stop')
  }

  async start(): Promise<void> {
    throw this.#refusal('start')
  }

  async kill(): Promise<void> {
    throw this.#refusal('kill')
  }

  async pause(): Promise<void> {
    throw this.#refusal('pause')
  }

  async resume(): Promise<void> {
    throw this.#refusal('resume')
  }

  #refusal(action: string): ServiceNotManagedError {
    return new ServiceNotManagedError(this.name, this.env, action)
  }
}
