/**
 * The name of an adapter's queue where several schemas of one database may each have such a queue: with the schema, unless
 * that is the usual one. So two of them share no task row, no crash count and no GC lock, whatever name they were given.
 */
export const queueName = ({
  name,
  schema,
  usual,
}: {
  name: string
  schema: string
  usual: string
}): string => (schema === usual ? name : `${name}@${schema}`)
