import { legDatabase, servicesOf } from '@holdfast/chaos'
import { type RunningService, type Services, startServices } from '@holdfast/services'
import { Fixture } from './fixture.js'

/** A fixture on a server of its own, that a test may stop. */
export class PrivateServer implements AsyncDisposable {
  /** The database server, behind a pooler where there is one. */
  readonly server: RunningService
  readonly fixture: Fixture
  readonly #services: Services

  private constructor(services: Services, server: RunningService, fixture: Fixture) {
    this.#services = services
    this.server = server
    this.fixture = fixture
  }

  static async create(): Promise<PrivateServer> {
    const services = await startServices(servicesOf(legDatabase()), { private: true, durable: true })
    const server = services.get(servicesOf(legDatabase())[0]!)
    const fixture = await Fixture.create(services.get(legDatabase()).url, server.url)
    return new PrivateServer(services, server, fixture)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fixture[Symbol.asyncDispose]()
    await this.#services.stop()
  }
}
