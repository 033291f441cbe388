import {
  type KyselyPlugin,
  type OperationNode,
  type PluginTransformQueryArgs,
  type PluginTransformResultArgs,
  RawNode,
  ValueNode,
} from 'kysely'

/** What every session reads as it is written, whatever its character set and escapes: printable ASCII without \ and '. */
const PLAIN = /^[\x20-\x26\x28-\x5b\x5d-\x7e]*$/

/**
 * Sends texts so that no setting of the session changes them. mysql2 writes values into the statement's text: a session
 * with NO_BACKSLASH_ESCAPES would keep its escapes, and one in utf8mb3 or latin1 lose characters. So what is not plain goes
 * as the bytes of its UTF-8.
 */
export const byteExact: KyselyPlugin = {
  transformQuery: ({ node }: PluginTransformQueryArgs) => exact(node) as PluginTransformQueryArgs['node'],
  transformResult: ({ result }: PluginTransformResultArgs): Promise<PluginTransformResultArgs['result']> =>
    Promise.resolve(result),
}

/** Our statements are raw SQL: those of others pass as they are. */
function exact(node: OperationNode): OperationNode {
  if (ValueNode.is(node)) {
    if (typeof node.value !== 'string' || PLAIN.test(node.value)) return node
    return RawNode.create(['_utf8mb4 ', ''], [ValueNode.create(Buffer.from(node.value))])
  }
  if (!RawNode.is(node)) return node
  const parameters = node.parameters.map(exact)
  const isSame = parameters.every((parameter, n) => parameter === node.parameters[n])
  return isSame ? node : RawNode.create(node.sqlFragments, parameters)
}
