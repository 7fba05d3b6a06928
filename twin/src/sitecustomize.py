"""Read by the base's Python before the base: corrects what MiniStack 1.5.33 forgets.

When a nested stack is updated, what has not changed in it loses its attributes, and whoever asks for one (`!GetAtt
Role.Arn`) makes the update fail.
"""

from ministack.services import cloudformation
from ministack.services.cloudformation import provisioners

update = provisioners._update_resource


def update_and_remember(kind, physical_id, old, new, stack_name, logical_id=None, attributes=None):
    if attributes is None:
        stack = cloudformation._stacks.get(stack_name) or {}
        attributes = stack.get("_resources", {}).get(logical_id, {}).get("Attributes")
    return update(kind, physical_id, old, new, stack_name, logical_id, attributes)


provisioners._update_resource = update_and_remember
