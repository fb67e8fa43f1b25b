"""From a blessed model to a version that is served: ServingValidator and Pusher."""
