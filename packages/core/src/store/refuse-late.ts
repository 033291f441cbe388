import type { KyselyPlugin, PluginTransformQueryArgs, PluginTransformResultArgs } from 'kysely'
import { AdapterError } from '../errors.js'

/**
 * Refuses statements of a transaction that is over. Kysely refuses them only once its end was sent (0.28 not even then):
 * behind a statement that hangs, an adapter's next one would be executed after the rollback, outside of any transaction.
 */
export class RefuseLate implements KyselyPlugin {
  #over = false

  end(): void {
    this.#over = true
  }

  transformQuery({ node }: PluginTransformQueryArgs): PluginTransformQueryArgs['node'] {
    if (!this.#over) return node
    throw new AdapterError('The transaction of this recovery is over: the statement was not executed.')
  }

  transformResult({ result }: PluginTransformResultArgs): Promise<PluginTransformResultArgs['result']> {
    return Promise.resolve(result)
  }
}
