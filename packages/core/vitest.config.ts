import { onLeg } from '../../testing/legs.js'

export default onLeg('core', process.env.HOLDFAST_TEST_DB, process.env.HOLDFAST_TEST_KYSELY)
